//! The architecture: which part may name what, read from the sources as text.

use std::path::{Path, PathBuf};

/// A source file: its path from the root, its whole text, and its code without comments and unit tests.
struct Source {
    path: String,
    text: String,
    code: Vec<String>,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(&root.join(folder), &mut found);
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a source is text");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
        let code = code.filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect();
        let path = path.strip_prefix(root).expect("is below the root").to_string_lossy().replace('\\', "/");
        Source { path, code, text }
    };
    let all: Vec<Source> = found.into_iter().map(source).collect();
    assert!(!all.is_empty(), "{folder} has sources");
    all
}

fn names(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// The places in `folder`, but for files below `allowed`, where a line of code is `wrong`.
fn offences(folder: &str, allowed: &[&str], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let elsewhere = sources(folder).into_iter().filter(|source| !allowed.iter().any(|path| source.path.starts_with(path)));
    elsewhere
        .flat_map(|source| {
            source.code.iter().filter(|line| wrong(line)).map(|line| format!("{}: {}", source.path, line.trim())).collect::<Vec<_>>()
        })
        .collect()
}

const NONE: [String; 0] = [];

#[test]
fn the_rules_know_no_transport_no_json_and_no_database() {
    for library in ["axum", "tower", "hyper", "socketioxide", "socketioxide_core", "serde_json", "sea_orm", "sqlx"] {
        assert_eq!(offences("src/chat", &[], |line| names(line, library)), NONE, "{library}");
    }
}

#[test]
fn only_the_store_names_the_database_library() {
    for library in ["sea_orm", "sqlx", "sea_orm_migration"] {
        assert_eq!(offences("src", &["src/store"], |line| names(line, library)), NONE, "{library}");
    }
}

#[test]
fn only_socket_and_app_name_the_socket_library() {
    for library in ["socketioxide", "socketioxide_core", "engineioxide"] {
        // The settings name it in the default of the log filter.
        assert_eq!(offences("src", &["src/socket", "src/app", "src/config"], |line| names(line, library)), NONE, "{library}");
    }
}

#[test]
fn only_the_cluster_names_redis() {
    assert_eq!(offences("src", &["src/cluster"], |line| line.contains("redis::")), NONE);
}

#[test]
fn only_the_metrics_name_their_library() {
    assert_eq!(offences("src", &["src/metrics"], |line| names(line, "prometheus_client")), NONE);
}

#[test]
fn an_arrow_points_down_only() {
    for (layer, above) in [
        ("src/store", &["chat", "wire", "rest", "socket", "cluster", "app"][..]),
        ("src/chat", &["wire", "rest", "socket", "cluster", "app"]),
        ("src/wire", &["rest", "socket", "cluster", "app"]),
        ("src/socket", &["cluster"]),
        ("src/rest", &["cluster"]),
    ] {
        for above in above {
            let import = format!("crate::{above}::");
            assert_eq!(offences(layer, &[], |line| line.contains(&import)), NONE, "{layer} imports {above}");
        }
    }
    for leaf in [
        "src/auth.rs",
        "src/clock.rs",
        "src/error.rs",
        "src/limits.rs",
        "src/config/mod.rs",
        "src/config/check.rs",
        "src/config/shown.rs",
        "src/config/sources.rs",
        "src/metrics/mod.rs",
        "src/vital.rs",
        "src/panics.rs",
    ] {
        let all = sources("src");
        let source = all.iter().find(|source| source.path == leaf).unwrap_or_else(|| panic!("{leaf} exists"));
        let wrong = |line: &&String| {
            ["store", "chat", "wire", "rest", "socket", "cluster", "app"].iter().any(|above| line.contains(&format!("crate::{above}::")))
        };
        assert_eq!(source.code.iter().find(wrong), None, "{leaf} is a leaf");
    }
}

#[test]
fn an_event_name_stands_in_wire_only() {
    // `error` is a field of many a JSON object too.
    for name in crate::readme::event_names().into_iter().filter(|name| name != "error") {
        let literal = format!("\"{name}\"");
        assert_eq!(offences("src", &["src/wire", "src/commands/demo.rs"], |line| line.contains(&literal)), NONE, "{name}");
    }
}

#[test]
fn every_file_says_first_what_lives_there() {
    for folder in ["src", "entity/src", "migration/src", "tests"] {
        for source in sources(folder) {
            let first = source.text.lines().next().unwrap_or_default();
            assert!(first.starts_with("//! ") && first.len() > 12, "{} opens with {first:?}", source.path);
        }
    }
}

#[test]
fn no_code_unwraps() {
    for folder in ["src", "entity/src", "migration/src"] {
        assert_eq!(
            offences(folder, &[], |line| line.contains(".unwrap()") || line.contains("unimplemented!") || line.contains("todo!")),
            NONE
        );
    }
}
