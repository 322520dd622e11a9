//! How long the files and functions of a crate are, how many fields its structs have, and which documentation is wanting.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Lit, Meta};

use super::tree::{Source, Tree, attributes, for_tests};

/// A public field's documentation has at least so many words: what it is, its unit, its range.
const MIN_FIELD_WORDS: usize = 3;

/// A measured thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) size: usize,
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: usize,
}

/// What one crate measures; tests are left out.
#[derive(Default)]
pub(super) struct Measures {
    /// Lines of each file.
    pub(super) files: Vec<Measured>,
    /// Lines of each function, from its signature to its end.
    pub(super) functions: Vec<Measured>,
    /// Fields of each struct.
    pub(super) structs: Vec<Measured>,
    /// Files that do not say at their top what they are.
    pub(super) without_head: Vec<Measured>,
    /// Public fields with a document of a word or two, or none; the size is its words.
    pub(super) short_docs: Vec<Measured>,
}

/// Measures a crate.
pub(super) fn measure(tree: &Tree) -> Measures {
    let mut all = Measures::default();
    for source in &tree.files {
        let mut visitor = Visitor {
            file: &source.name,
            test_lines: 0,
            all: &mut all,
        };
        visitor.visit_file(&source.syntax);
        let lines = source.text.lines().count() - visitor.test_lines;
        let measured = |size| Measured {
            size,
            name: String::new(),
            file: source.name.clone(),
            line: 1,
        };
        all.files.push(measured(lines));
        if !has_head(source) {
            all.without_head.push(measured(0));
        }
    }
    for list in [&mut all.files, &mut all.functions, &mut all.structs] {
        list.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    }
    all
}

fn has_head(source: &Source) -> bool {
    source
        .syntax
        .attrs
        .iter()
        .any(|attribute| matches!(attribute.style, syn::AttrStyle::Inner(_)) && attribute.path().is_ident("doc"))
}

struct Visitor<'a> {
    file: &'a str,
    test_lines: usize,
    all: &'a mut Measures,
}

impl Visitor<'_> {
    fn measured(&self, size: usize, name: &impl ToString, span: proc_macro2::Span) -> Measured {
        Measured {
            size,
            name: name.to_string(),
            file: self.file.to_owned(),
            line: span.start().line,
        }
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (start, end) = (signature.span().start().line, body.span().end().line);
        let measured = self.measured(end - start + 1, &signature.ident, signature.span());
        self.all.functions.push(measured);
    }

    fn field(&mut self, owner: &syn::Ident, field: &syn::Field) {
        let Some(name) = &field.ident else { return };
        let words = words(&field.attrs);
        if words < MIN_FIELD_WORDS {
            let measured = self.measured(words, &format!("{owner}.{name}"), name.span());
            self.all.short_docs.push(measured);
        }
    }

    fn skip(&mut self, span: proc_macro2::Span) {
        self.test_lines += span.end().line - span.start().line + 1;
    }
}

fn words(attributes: &[Attribute]) -> usize {
    let mut words = 0;
    for attribute in attributes {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let Expr::Lit(literal) = &pair.value
            && let Lit::Str(text) = &literal.lit
        {
            let text = text.value();
            words += text
                .split_whitespace()
                .filter(|word| word.contains(char::is_alphanumeric))
                .count();
        }
    }
    words
}

impl<'a> Visit<'a> for Visitor<'_> {
    fn visit_item(&mut self, item: &'a syn::Item) {
        if !for_tests(attributes(item)) {
            visit::visit_item(self, item);
        } else if matches!(item, syn::Item::Mod(module) if module.content.is_none()) {
            // Another file's: the line that names it stays.
        } else {
            self.skip(item.span());
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if for_tests(&function.attrs) {
            return self.skip(function.span());
        }
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        let fields = item.fields.iter().filter(|field| !for_tests(&field.attrs)).count();
        let measured = self.measured(fields, &item.ident, item.ident.span());
        self.all.structs.push(measured);
        let is_public = |vis: &syn::Visibility| matches!(vis, syn::Visibility::Public(_));
        if is_public(&item.vis) {
            for field in item.fields.iter().filter(|field| is_public(&field.vis)) {
                self.field(&item.ident, field);
            }
        }
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        if matches!(item.vis, syn::Visibility::Public(_)) {
            for variant in &item.variants {
                for field in &variant.fields {
                    self.field(&variant.ident, field);
                }
            }
        }
    }
}
