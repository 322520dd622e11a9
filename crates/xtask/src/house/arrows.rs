//! Arrows between files: one file's code names an item that another defines, by `use` or by a path. A parent that declares a child, or
//! hands on its names with `pub use`, draws no arrow; whoever takes a name from there points at the file that defines it.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::tree::{Tree, attributes, for_tests};

/// One file names what another defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    /// Places in [`Tree::files`].
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) line: usize,
    pub(super) path: String,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Module(usize),
    /// Something that this module defines.
    ItemOf(usize),
}

/// All arrows of a crate, without repetitions on one line.
pub(super) fn arrows(tree: &Tree) -> Vec<Arrow> {
    let mut found = BTreeSet::new();
    for (module, data) in tree.modules.iter().enumerate() {
        for import in &data.imports {
            for named in resolve(tree, module, &import.path, &mut Vec::new()) {
                if let Named::ItemOf(owner) = named
                    && !(import.is_public && tree.is_within(owner, module))
                {
                    found.insert(Arrow {
                        from: data.file,
                        to: tree.modules[owner].file,
                        line: import.line,
                        path: import.path.join("::"),
                    });
                }
            }
        }
    }
    for (file, source) in tree.files.iter().enumerate() {
        let Some(module) = tree.modules.iter().position(|module| module.file == file) else {
            continue;
        };
        let mut paths = Paths {
            tree,
            module,
            found: &mut found,
        };
        paths.visit_file(&source.syntax);
    }
    found.into_iter().filter(|arrow| arrow.from != arrow.to).collect()
}

/// What `path` means in `module`. Several answers: a module and a function may bear one name.
fn resolve(tree: &Tree, module: usize, path: &[String], asked: &mut Vec<(usize, String)>) -> Vec<Named> {
    let Some((first, rest)) = path.split_first() else {
        return Vec::new();
    };
    let mut now = match first.as_str() {
        "crate" => {
            let mut root = module;
            while let Some(parent) = tree.modules[root].parent {
                root = parent;
            }
            vec![Named::Module(root)]
        }
        "self" => vec![Named::Module(module)],
        "super" => tree.modules[module].parent.map(Named::Module).into_iter().collect(),
        name => look_up(tree, module, name, asked),
    };
    for name in rest {
        let mut next = Vec::new();
        for named in now {
            match named {
                Named::Module(at) if name == "super" => next.extend(tree.modules[at].parent.map(Named::Module)),
                Named::Module(at) => next.extend(look_up(tree, at, name, asked)),
                // A variant, an associated function: of that item all the same.
                Named::ItemOf(owner) => next.push(Named::ItemOf(owner)),
            }
        }
        now = next;
    }
    now.sort_unstable();
    now.dedup();
    now
}

fn look_up(tree: &Tree, module: usize, name: &str, asked: &mut Vec<(usize, String)>) -> Vec<Named> {
    let question = (module, name.to_owned());
    if asked.contains(&question) {
        return Vec::new();
    }
    asked.push(question);
    let data = &tree.modules[module];
    let mut found = Vec::new();
    found.extend(data.children.get(name).copied().map(Named::Module));
    if data.items.iter().any(|item| item == name) {
        found.push(Named::ItemOf(module));
    }
    for import in data
        .imports
        .iter()
        .filter(|import| import.name.as_deref() == Some(name))
    {
        found.extend(resolve(tree, module, &import.path, asked));
    }
    if found.is_empty() {
        for import in data.imports.iter().filter(|import| import.name.is_none()) {
            for named in resolve(tree, module, &import.path, asked) {
                if let Named::Module(at) = named {
                    found.extend(look_up(tree, at, name, asked));
                }
            }
        }
    }
    asked.pop();
    found
}

/// Finds the paths in a file's code.
struct Paths<'a> {
    tree: &'a Tree,
    module: usize,
    found: &'a mut BTreeSet<Arrow>,
}

impl Paths<'_> {
    fn note(&mut self, path: &[String], line: usize) {
        for named in resolve(self.tree, self.module, path, &mut Vec::new()) {
            if let Named::ItemOf(owner) = named {
                self.found.insert(Arrow {
                    from: self.tree.modules[self.module].file,
                    to: self.tree.modules[owner].file,
                    line,
                    path: path.join("::"),
                });
            }
        }
    }

    fn note_path(&mut self, path: &syn::Path) {
        if path.leading_colon.is_none() {
            let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
            self.note(&names, path.span().start().line);
        }
    }

    /// The paths in what a macro is given, as far as tokens tell.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let first = match token {
                TokenTree::Group(group) => {
                    self.note_tokens(group.stream());
                    continue;
                }
                TokenTree::Ident(ident) => ident,
                _ => continue,
            };
            let is_field = at >= 2 && matches!(&tokens[at - 2], TokenTree::Punct(dot) if dot.as_char() == '.');
            let mut path = vec![first.to_string()];
            while let (Some(one), Some(two), Some(TokenTree::Ident(name))) =
                (tokens.get(at), tokens.get(at + 1), tokens.get(at + 2))
                && is_colon(one, Spacing::Joint)
                && is_colon(two, Spacing::Alone)
            {
                path.push(name.to_string());
                at += 3;
            }
            let is_called =
                matches!(tokens.get(at), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
            if !is_field && (path.len() > 1 || is_called || !is_variable(&path[0])) {
                self.note(&path, first.span().start().line);
            }
        }
    }
}

fn is_colon(token: &TokenTree, spacing: Spacing) -> bool {
    matches!(token, TokenTree::Punct(colon) if colon.as_char() == ':' && colon.spacing() == spacing)
}

/// Whether a lone name is more likely a variable's than an item's.
fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_lowercase() || c == '_')
}

impl<'a> Visit<'a> for Paths<'_> {
    fn visit_item(&mut self, item: &'a syn::Item) {
        if !for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_local(&mut self, local: &'a syn::Local) {
        if !for_tests(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let Some((_, items)) = &module.content else { return };
        let outer = self.module;
        self.module = self.tree.modules[outer].children[&module.ident.to_string()];
        for item in items {
            self.visit_item(item);
        }
        self.module = outer;
    }

    fn visit_item_use(&mut self, _: &'a syn::ItemUse) {}

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.note_path(path);
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, path: &'a syn::ExprPath) {
        if path.path.get_ident().is_none_or(|name| !is_variable(&name.to_string())) {
            visit::visit_expr_path(self, path);
        }
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && function.path.get_ident().is_some()
        {
            self.note_path(&function.path);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.note_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn drawn(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let tree = Tree::read(folder.path()).expect("it parses");
        let name = |file: usize| tree.files[file].name.trim_end_matches(".rs");
        let mut drawn: Vec<String> = arrows(&tree)
            .iter()
            .map(|arrow| format!("{} -> {}: {}", name(arrow.from), name(arrow.to), arrow.path))
            .collect();
        drawn.dedup();
        drawn
    }

    #[test]
    fn a_parent_that_declares_and_hands_on_draws_no_arrow_but_one_that_uses_does() {
        let child = ("a.rs", "pub struct A; pub struct B;");
        assert!(drawn(&[("lib.rs", "mod a; pub use a::{A, B};"), child]).is_empty());
        assert_eq!(
            drawn(&[("lib.rs", "mod a; pub use a::{A, B}; fn f(_: A) {}"), child]),
            ["lib -> a: A"]
        );
        assert_eq!(
            drawn(&[("lib.rs", "mod a; fn f() -> a::B { a::B }"), child]),
            ["lib -> a: a::B"]
        );
    }

    #[test]
    fn names_are_followed_to_the_file_that_defines_them() {
        let lib = ("lib.rs", "mod a; mod b; pub use a::deep::Deep; const LOCAL: u8 = 1;");
        let a = ("a/mod.rs", "pub mod deep; pub enum E { V } pub fn call() {}");
        let deep = ("a/deep.rs", "pub struct Deep; impl Deep { pub fn new() {} }");
        let arrows = |b: &str| drawn(&[lib, a, deep, ("b.rs", b)]);
        assert_eq!(arrows("use crate::Deep;"), ["b -> a/deep: crate::Deep"]);
        assert_eq!(
            arrows("use crate::a; fn f() { a::deep::Deep::new() }"),
            ["b -> a/deep: a::deep::Deep::new"]
        );
        assert_eq!(arrows("use super::a::*; fn f() { call() }"), ["b -> a/mod: call"]);
        assert_eq!(
            arrows("fn f() { let _ = vec![super::LOCAL]; }"),
            ["b -> lib: super::LOCAL"]
        );
        assert_eq!(arrows("fn f() { use crate::a::E::*; }"), ["b -> a/mod: crate::a::E"]);
        assert_eq!(
            arrows("mod inner { use super::super::a::E as F; }"),
            ["b -> a/mod: super::super::a::E"]
        );
        assert_eq!(
            arrows("pub use crate::a::E;"),
            ["b -> a/mod: crate::a::E"],
            "not of a parent"
        );
    }

    #[test]
    fn tests_variables_and_foreign_names_draw_no_arrow() {
        let lib = ("lib.rs", "mod a; mod b; #[cfg(test)] mod missing;");
        let a = ("a.rs", "pub fn written() {} pub struct A;");
        let arrows = |b: &str| drawn(&[lib, a, ("b.rs", b)]);
        assert!(arrows("#[cfg(test)] mod tests { use crate::a::A; }").is_empty());
        assert!(arrows("#[cfg(test)] use crate::a::A;").is_empty());
        assert!(arrows("pub(in crate::a) use super::a::*; fn f(written: u8) -> u8 { written }").is_empty());
        assert!(arrows("use std::fmt; fn f(_: fmt::Error, _: bytes::a::A) {}").is_empty());
        assert!(arrows("impl X { #[cfg(test)] fn f() { crate::a::written() } }").is_empty());
    }
}
