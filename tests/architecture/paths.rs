//! Finds the paths in a source file: in `use` declarations, expressions and types. Ignores comments and strings.

use std::iter::Peekable;

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream};

/// The segments of a path. A path of this library starts with `crate`. Any other path starts with its first identifier,
/// for example the name of an external crate. The last segment of a glob is `*`.
pub type NamedPath = Vec<String>;

/// Finds every path in `source`, the content of a module's file. `module` is the module's path without `crate`.
pub fn of(source: &str, module: &[&str]) -> Vec<NamedPath> {
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{module:?}: {error}"));
    let module = ["crate"].iter().chain(module).map(|name| (*name).to_owned()).collect();
    let mut reader = Reader { module, paths: Vec::new() };
    reader.read(tokens);
    reader.paths
}

/// The keywords that can precede a path with a leading `::`.
const BEFORE_A_PATH: &[&str] = &["use", "as", "dyn", "impl", "for", "in", "return", "mut", "else", "match", "if"];

struct Reader {
    module: NamedPath,
    paths: Vec<NamedPath>,
}

type Tokens = Peekable<token_stream::IntoIter>;

impl Reader {
    fn read(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Ident(name) if name == "mod" => self.inline_module(&mut tokens),
                TokenTree::Ident(name) if skip_separator(&mut tokens) => {
                    let name = name.to_string();
                    let path = if BEFORE_A_PATH.contains(&name.as_str()) { Vec::new() } else { vec![name] };
                    self.read_tree(path, &mut tokens);
                }
                _ => {}
            }
        }
    }

    /// Reads an inline module. In the inline module, `super` refers to the enclosing module.
    fn inline_module(&mut self, tokens: &mut Tokens) {
        let Some(TokenTree::Ident(name)) = tokens.next() else { return };
        if let Some(TokenTree::Group(body)) = tokens.peek().cloned() {
            tokens.next();
            self.module.push(name.to_string());
            self.read(body.stream());
            self.module.pop();
        }
    }

    /// Reads the part of a path or a `use` tree that follows `path::`.
    fn read_tree(&mut self, mut path: NamedPath, tokens: &mut Tokens) {
        match tokens.peek().cloned() {
            Some(TokenTree::Ident(name)) => {
                tokens.next();
                path.push(name.to_string());
                if skip_separator(tokens) { self.read_tree(path, tokens) } else { self.record(path) }
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                tokens.next();
                let mut branches = group.stream().into_iter().peekable();
                while branches.peek().is_some() {
                    self.read_tree(path.clone(), &mut branches);
                    // Skip `as name` and the comma.
                    while branches.next_if(|token| token.to_string() != ",").is_some() {}
                    branches.next();
                }
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                path.push("*".to_owned());
                self.record(path);
            }
            // For `Vec::<T>`, the path is `Vec`. The remaining tokens are read separately.
            _ if !path.is_empty() => self.record(path),
            _ => {}
        }
    }

    fn record(&mut self, path: NamedPath) {
        let mut resolved = NamedPath::new();
        for (index, name) in path.into_iter().enumerate() {
            match name.as_str() {
                "self" if index == 0 => resolved.clone_from(&self.module),
                "self" => {}
                "super" => {
                    if index == 0 {
                        resolved.clone_from(&self.module);
                    }
                    resolved.pop();
                }
                // The binary refers to the library by its crate name.
                "live_message_operator" if index == 0 => resolved.push("crate".to_owned()),
                _ => resolved.push(name),
            }
        }
        self.paths.push(resolved);
    }
}

/// If the next token is `::`, skips it and returns true.
fn skip_separator(tokens: &mut Tokens) -> bool {
    let mut ahead = tokens.clone();
    let colon = |token: Option<TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    if colon(ahead.next()) && colon(ahead.next()) {
        *tokens = ahead;
        return true;
    }
    false
}

#[test]
fn paths_are_found_in_every_position() {
    let source = r#"
        //! [`crate::not_in_a_comment`]
        use crate::{live::{Call, client::{self, Client as C}}, budget::*};
        use super::sibling;
        pub(crate) mod inner {
            use super::super::up;
            fn f<'a>(x: &'a crate::resources::Reason) -> [crate::telemetry::Log; 2] {
                let _ = ("crate::not_in_a_string", 'c', super::here());
                crate::emulator::start::<crate::controller::Config>(vec![self::g(crate::cli::Args)])
            }
        }
        use std::{fs, io::Write as _};
        use ::kube::Client;
        macro_rules! m { () => { $crate::decide::decide() } }
    "#;
    let mut found: Vec<String> = of(source, &["a", "b"]).iter().map(|path| path.join("::")).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "crate::a::b::here",
            "crate::a::b::inner::g",
            "crate::a::sibling",
            "crate::a::up",
            "crate::budget::*",
            "crate::cli::Args",
            "crate::controller::Config",
            "crate::decide::decide",
            "crate::emulator::start",
            "crate::live::Call",
            "crate::live::client",
            "crate::live::client::Client",
            "crate::resources::Reason",
            "crate::telemetry::Log",
            "kube::Client",
            "std::fs",
            "std::io::Write",
        ]
    );
}
