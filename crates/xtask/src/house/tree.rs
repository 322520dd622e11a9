//! A crate's tree of modules, as the compiler sees it without `cfg(test)`: which file holds which module, and what each defines and
//! imports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Ident, Item, Meta, Token, UseTree, punctuated::Punctuated};

/// A source file.
pub(super) struct Source {
    /// From the crate's `src`, with `/`.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) syntax: syn::File,
}

/// A name that `use` brings into a module.
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// `None`: all names of `path`.
    pub(super) name: Option<String>,
    /// Whether others can name it from outside the module.
    pub(super) is_public: bool,
    pub(super) line: usize,
}

/// A module: a file's, or an inline one.
pub(super) struct Module {
    pub(super) parent: Option<usize>,
    pub(super) file: usize,
    pub(super) children: BTreeMap<String, usize>,
    pub(super) items: Vec<String>,
    pub(super) imports: Vec<Import>,
}

/// All modules of a crate. Those without a parent are roots: `lib.rs`, `main.rs`.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: Vec<Source>,
    pub(super) modules: Vec<Module>,
}

impl Tree {
    /// Reads the crate whose sources lie in `src`.
    pub(super) fn read(src: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        for root in ["lib.rs", "main.rs"] {
            if src.join(root).is_file() {
                tree.read_file(src, &src.join(root), None, src)?;
            }
        }
        Ok(tree)
    }

    /// Reads one file as the module below `parent`; `folder` is where the files of its own children lie.
    fn read_file(&mut self, src: &Path, path: &Path, parent: Option<usize>, folder: &Path) -> Result<usize, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let syntax = syn::parse_file(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path
            .strip_prefix(src)
            .unwrap_or(path)
            .to_string_lossy()
            .replace('\\', "/");
        let items = syntax.items.clone();
        self.files.push(Source { name, text, syntax });
        let file = self.files.len() - 1;
        let module = self.add(parent, file);
        self.fill(src, module, &items, folder)?;
        Ok(module)
    }

    fn add(&mut self, parent: Option<usize>, file: usize) -> usize {
        self.modules.push(Module {
            parent,
            file,
            children: BTreeMap::new(),
            items: Vec::new(),
            imports: Vec::new(),
        });
        self.modules.len() - 1
    }

    fn fill(&mut self, src: &Path, module: usize, items: &[Item], folder: &Path) -> Result<(), String> {
        for item in items.iter().filter(|item| !for_tests(attributes(item))) {
            let Item::Mod(below) = item else {
                let mut uses = Uses::default();
                uses.visit_item(item);
                self.modules[module].imports.append(&mut uses.0);
                self.modules[module].items.extend(name_of(item).map(Ident::to_string));
                continue;
            };
            let name = below.ident.to_string();
            let inside = folder.join(&name);
            let child = match &below.content {
                Some((_, items)) => {
                    let child = self.add(Some(module), self.modules[module].file);
                    self.fill(src, child, items, &inside)?;
                    child
                }
                None => {
                    let file = file_of(below, folder);
                    self.read_file(src, &file, Some(module), &inside)?
                }
            };
            self.modules[module].children.insert(name, child);
        }
        Ok(())
    }

    /// Whether `module` is `above`, or lies below it.
    pub(super) fn is_within(&self, module: usize, above: usize) -> bool {
        module == above
            || self.modules[module]
                .parent
                .is_some_and(|parent| self.is_within(parent, above))
    }
}

fn file_of(module: &syn::ItemMod, folder: &Path) -> PathBuf {
    let told = module.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    match told {
        Some(told) => folder.join(told),
        None => {
            let file = folder.join(format!("{}.rs", module.ident));
            if file.is_file() {
                file
            } else {
                folder.join(module.ident.to_string()).join("mod.rs")
            }
        }
    }
}

/// Whether only tests see what bears these attributes.
pub(super) fn for_tests(attributes: &[Attribute]) -> bool {
    fn asks_for_test(meta: &Meta) -> bool {
        let parts = |list: &syn::MetaList| {
            list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .map(|parts| parts.into_iter().collect::<Vec<_>>())
                .unwrap_or_default()
        };
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => parts(list).iter().any(asks_for_test),
            Meta::List(list) if list.path.is_ident("any") => parts(list).iter().all(asks_for_test),
            _ => false,
        }
    }
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|meta| asks_for_test(&meta))
        }
        _ => false,
    })
}

/// An item's attributes.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// The imports of an item, those inside functions too.
#[derive(Default)]
struct Uses(Vec<Import>);

impl<'a> Visit<'a> for Uses {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if item.leading_colon.is_none() && !for_tests(&item.attrs) {
            let is_public = !matches!(item.vis, syn::Visibility::Inherited);
            flatten(&item.tree, &mut Vec::new(), is_public, &mut self.0);
        }
    }

    fn visit_item_mod(&mut self, _: &'a syn::ItemMod) {}
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, is_public: bool, into: &mut Vec<Import>) {
    let mut leaf = |path: &[String], name: Option<String>, ident: proc_macro2::Span| {
        into.push(Import {
            path: path.to_vec(),
            name,
            is_public,
            line: ident.start().line,
        });
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, is_public, into);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => leaf(before, before.last().cloned(), name.ident.span()),
        UseTree::Name(name) => {
            before.push(name.ident.to_string());
            leaf(before, before.last().cloned(), name.ident.span());
            before.pop();
        }
        UseTree::Rename(rename) => {
            if rename.ident != "self" {
                before.push(rename.ident.to_string());
            }
            leaf(before, Some(rename.rename.to_string()), rename.ident.span());
            if rename.ident != "self" {
                before.pop();
            }
        }
        UseTree::Glob(glob) => leaf(before, None, glob.star_token.spans[0]),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, is_public, into);
            }
        }
    }
}
