//! Tests that log lines have unique keys. The key `message` contains the text of the line, so no field may have that
//! name.

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

#[test]
fn no_log_line_has_a_field_called_message() {
    let mut found = Vec::new();
    let mut calls = 0;
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(entry.path()).unwrap();
                let macros = log_macros(source.parse().unwrap());
                calls += macros.len();
                found.extend(macros.into_iter().filter(has_message_field).map(|call| (entry.path(), call.to_string())));
            }
        }
    }
    assert!(found.is_empty(), "a field is named `message`, which is the key of the text: {found:#?}");
    assert!(calls > 30, "the search found only {calls} log lines");
}

#[test]
fn message_field_is_found_in_each_notation() {
    let count =
        |source: &str| log_macros(source.parse().unwrap()).iter().filter(|call| has_message_field(call)).count();
    for field in ["message = text", "message", "%message", "?message", "message = %text"] {
        assert_eq!(count(&format!("fn f() {{ if x {{ tracing::info!({field}, a = 1, \"text\"); }} }}")), 1, "{field}");
        assert_eq!(count(&format!("fn f() {{ warn!(a = %b, {field}, \"text\") }}")), 1, "{field}");
    }
    for line in ["detail = failure.message", "failure.message", "detail = ?message", "detail = f(message)"] {
        assert_eq!(count(&format!("fn f() {{ tracing::error!({line}, \"a message: {{message}}\") }}")), 0, "{line}");
    }
    assert_eq!(count("fn f() { println!(message) }"), 0);
}

/// Finds the arguments of every tracing macro.
fn log_macros(tokens: TokenStream) -> Vec<TokenStream> {
    const MACROS: &[&str] = &["trace", "debug", "info", "warn", "error", "event", "span"];
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut macros = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let is_log = matches!(tokens[..index], [.., TokenTree::Ident(ref name), TokenTree::Punct(ref mark)]
            if mark.as_char() == '!' && MACROS.contains(&name.to_string().trim_end_matches("_span")));
        if is_log {
            macros.push(group.stream());
        }
        macros.extend(log_macros(group.stream()));
    }
    macros
}

fn has_message_field(arguments: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = arguments.clone().into_iter().collect();
    tokens.split(|token| is_mark(token, ",")).any(|argument| {
        let without_sigil = match argument {
            [sigil, rest @ ..] if is_mark(sigil, "%?") => rest,
            _ => argument,
        };
        match without_sigil {
            [TokenTree::Ident(name)] => name == "message",
            [TokenTree::Ident(name), equals, ..] => name == "message" && is_mark(equals, "="),
            _ => false,
        }
    })
}

fn is_mark(token: &TokenTree, marks: &str) -> bool {
    matches!(token, TokenTree::Punct(mark) if marks.contains(mark.as_char()))
}
