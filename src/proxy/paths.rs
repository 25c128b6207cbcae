//! Which paths are served here, however they are spelled: nothing of them may reach the old backend, which may read a spelling otherwise.

/// The Socket.IO service. The old one may answer to whatever begins with these letters.
const SOCKETS: &str = "socket.io";
/// With whatever is below them.
const TREES: [&[&str]; 4] = [&["api", "messaging"], &["healthz"], &["readyz"], METRICS];
const METRICS: &[&str] = &["metrics"];
/// By themselves: what is below them is the old backend's.
const ACCOUNTS: [&[&str]; 5] = [
    &["api", "auth", "register"],
    &["api", "auth", "traveller", "login"],
    &["api", "auth", "agency", "login"],
    &["api", "auth", "me"],
    &["api", "user", "search"],
];

/// Whether a path is one of ours, to any reader: decoded as often as it can be, with doubled and back slashes, path parameters (`;…`), dot
/// segments and in any letter case. `accounts` and `metrics` say whether those are served here.
pub fn is_own(path: &str, accounts: bool, metrics: bool) -> bool {
    let text = decoded(path);
    let segments: Vec<&str> = text.split(['/', '\\']).map(name).filter(|name| !matches!(*name, "" | ".")).collect();
    // Which segments `..` takes away depends on what was decoded before, and `//x/y` is the path `/y` to some: then any order of ours is too much.
    let is_ambiguous = segments.contains(&"..") || ["//", "/\\", "\\/", "\\\\"].iter().any(|two| text.starts_with(two));
    let has = |wanted: &[&str]| {
        let mut rest = segments.iter();
        if is_ambiguous { wanted.iter().all(|name| rest.any(|segment| segment == name)) } else { segments.starts_with(wanted) }
    };
    let sockets = segments.iter().take(if is_ambiguous { usize::MAX } else { 1 }).any(|name| name.starts_with(SOCKETS));
    let leaf = |wanted: &&[&str]| has(wanted) && (is_ambiguous || segments.len() == wanted.len());
    sockets || TREES.iter().any(|tree| has(tree) && (metrics || *tree != METRICS)) || accounts && ACCOUNTS.iter().any(leaf)
}

/// A segment without its parameters, and without what some readers cut off.
fn name(segment: &str) -> &str {
    segment.split([';', '?', '#']).next().unwrap_or_default().trim_matches(|c: char| c.is_whitespace() || c.is_control())
}

/// The path without any escape, also such as come about by decoding, and in lower case.
fn decoded(path: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        bytes.push(byte);
        while let [.., b'%', high, low] = bytes[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            bytes.truncate(bytes.len() - 3);
            bytes.push(high << 4 | low);
        }
    }
    String::from_utf8_lossy(&bytes).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_ours_is_known_in_every_spelling() {
        for path in [
            "/socket.io",
            "/socket.io/",
            "/socket.io/x",
            "/socket.iox",
            "/Socket.IO/?",
            "//socket.io/",
            "/socket%2eio/",
            "/socket%252eio/",
            "/%73ocket.io",
            "/socket.io;a=b/x",
            "/;a/socket.io",
            "/socket.io%00",
            "/%20socket.io",
            "/x/../socket.io/",
            "/x/..;/socket.io/",
            "/x%2f..%2fsocket.io",
            "/a%2fb/../socket.io",
            "\\socket.io",
            "/x/%2e%2e/%5csocket.io",
            "/API/messaging",
            "/api/messaging/",
            "/api//messaging/conversations",
            "/api/./messaging",
            "/api/%6dessaging",
            "/api%2Fmessaging/x",
            "/api/x/../messaging",
            "/API/messaging/../trips",
            "/api/a%2fb/../messaging",
            "//host/api/messaging",
            "/api/messaging%3fx",
            "/%25%36%31pi/messaging",
            "/api/auth/traveller/LOGIN",
            "/api/auth/traveller/login/",
            "/api/auth/me;x",
            "/Metrics",
            "/healthz/x",
        ] {
            assert!(is_own(path, true, true), "{path}");
        }
    }

    #[test]
    fn everything_else_is_not_ours() {
        for path in [
            "/",
            "//",
            "*",
            "",
            "/api",
            "/api/messagingtoo",
            "/x/socket.io",
            "/api/auth/me/avatar",
            "/api/auth/admin/login",
            "/api/user/7",
            "/a/./b/../c",
            "//other.example/x",
            "/100%",
            "/uploads/%7Bid%7D/a%2Fb.png",
            "/messaging/api",
        ] {
            assert!(!is_own(path, true, true), "{path}");
        }
        assert!(!is_own("/api/auth/me", false, true) && !is_own("/metrics", true, false));
    }

    #[test]
    fn every_documented_path_is_ours() {
        let document = crate::rest::openapi(true, true);
        let paths = document["paths"].as_object().expect("has paths");
        // The root is its own spelling.
        for path in paths.keys().filter(|path| *path != "/") {
            assert!(is_own(&path.to_uppercase(), true, true), "{path}");
        }
    }
}
