//! The README's tables: they name every event and every route that the sources have.

use std::collections::BTreeSet;

fn read(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The code of a source file without its unit tests.
pub fn code(path: &str) -> String {
    read(path).split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// The rows of the tables below a heading of the README.
fn rows(heading: &str) -> Vec<String> {
    let readme = read("README.md");
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("the README has no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    section.lines().map(str::to_owned).collect()
}

/// The string literals of some code, each with what stands before and after it.
pub fn literals(code: &str) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut rest = line;
        while let Some((before, (text, after))) = rest.split_once('"').and_then(|(b, tail)| Some((b, tail.split_once('"')?))) {
            found.push((before, text, after));
            rest = after;
        }
    }
    found
}

fn is_hyphenated(text: &str) -> bool {
    text.contains('-') && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase()))
}

/// What clients send: the arms of `wire::inbound`.
pub fn inbound() -> BTreeSet<String> {
    let code = code("src/wire/inbound.rs");
    let arms =
        literals(&code).into_iter().filter(|(_, _, after)| after.trim_start().starts_with("=>") || after.trim_start().starts_with('|'));
    arms.map(|(_, name, _)| name.to_owned()).collect()
}

/// What clients hear: the frames of `wire::outbound`.
pub fn outbound() -> BTreeSet<String> {
    let code = code("src/wire/outbound.rs");
    let frames = literals(&code).into_iter().filter(|(before, text, _)| before.ends_with("Frame::new(") || is_hyphenated(text));
    frames.map(|(_, name, _)| name.to_owned()).collect()
}

/// Every event name of the wire.
pub fn event_names() -> BTreeSet<String> {
    inbound().into_iter().chain(outbound()).collect()
}

/// Every route: method and path.
pub fn routes() -> BTreeSet<(&'static str, String)> {
    let code = code("src/rest/mod.rs");
    let mut found = BTreeSet::new();
    let mut prefix = "";
    for line in code.lines() {
        if line.contains("let messaging = ") {
            prefix = "/api/messaging";
        } else if line.contains(".fallback(not_found);") {
            prefix = "";
        }
        let Some((_, route)) = line.split_once(".route(\"") else { continue };
        let (path, handlers) = route.split_once('"').expect("a path ends");
        for (method, word) in [("GET", "get("), ("POST", "post("), ("PUT", "put("), ("PATCH", "patch("), ("DELETE", "delete(")] {
            if handlers.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '(').any(|part| part.starts_with(word)) {
                found.insert((method, format!("{prefix}{path}")));
            }
        }
    }
    found
}

#[test]
fn the_sources_are_understood() {
    let (inbound, outbound, routes) = (inbound(), outbound(), routes());
    for name in ["join-conversation", "leave-conversation", "send-message", "typing", "stop-typing", "mark-as-read", "user-online"] {
        assert!(inbound.contains(name), "{name} is not in {inbound:?}");
    }
    for name in ["message-received", "message-failed", "error", "user-typing", "typing", "online-users", "ticket-updated", "message-read"] {
        assert!(outbound.contains(name), "{name} is not in {outbound:?}");
    }
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/healthz"),
        ("POST", "/api/messaging/conversations"),
        ("PUT", "/api/messaging/conversations/{id}/mark-read"),
        ("PATCH", "/api/messaging/support/tickets/{id}/status"),
        ("GET", "/api/user/search"),
    ] {
        assert!(routes.contains(&(method, path.to_owned())), "{method} {path} is not in {routes:?}");
    }
    assert!((8..20).contains(&inbound.len()) && (12..30).contains(&outbound.len()) && routes.len() > 15);
}

#[test]
fn the_table_of_events_names_every_event() {
    let text = rows("Events").join("\n");
    for name in event_names() {
        assert!(text.contains(&format!("`{name}`")), "`{name}` is missing under Events");
    }
    let rows = rows("Events");
    let sent: Vec<&str> = rows.iter().filter_map(|row| row.strip_prefix("| `")?.split('|').next()).collect();
    let named: BTreeSet<String> =
        sent.iter().flat_map(|cell| cell.split(['`', ',', ' '])).filter(|w| !w.is_empty()).map(str::to_owned).collect();
    assert_eq!(named, inbound(), "the first column names what clients send, and nothing that does not exist");
}

#[test]
fn the_table_of_routes_names_every_route() {
    let rows = rows("Routes");
    for (method, path) in routes() {
        let of_path: Vec<&String> = rows.iter().filter(|row| row.contains(&format!(" {path}`"))).collect();
        let named = |row: &&&String| row.contains(&format!("`{method} {path}`")) || row.contains(&format!("`{method}`"));
        assert!(of_path.iter().any(|row| named(&row)), "`{method} {path}` is missing under Routes");
    }
}
