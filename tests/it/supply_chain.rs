//! What is built into tidings: only what `deny.toml` allows, by licence and by source. cargo-deny checks more, where there is one.

use std::{collections::BTreeSet, path::Path, process::Command};

use config::{Config, File, FileFormat, Value};

/// A licence expression, as far as crates use them: names, `OR`, `AND`, `/` for `OR`, and parentheses.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let outcome = either(&mut words, allowed);
    outcome && words.next().is_none()
}

type Words<'a, 'b> = &'a mut std::iter::Peekable<std::str::SplitWhitespace<'b>>;

fn either(words: Words, allowed: &[String]) -> bool {
    let mut outcome = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        outcome |= both(words, allowed);
    }
    outcome
}

fn both(words: Words, allowed: &[String]) -> bool {
    let mut outcome = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        outcome &= one(words, allowed);
    }
    outcome
}

fn one(words: Words, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let outcome = either(words, allowed);
        return words.next() == Some(")") && outcome;
    }
    let mut name = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&name)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn policy() -> Config {
    Config::builder().add_source(File::from(root().join("deny.toml"))).build().expect("deny.toml is TOML")
}

fn texts(values: Vec<Value>) -> Vec<String> {
    values.into_iter().map(|value| value.into_string().expect("a text")).collect()
}

/// The crates that are built, or needed to build or test: each with its version, its source if that is not crates.io, and its licence.
fn crates() -> BTreeSet<(String, String)> {
    let tree =
        ["tree", "--workspace", "--all-features", "--locked", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}|"];
    let output = Command::new(env!("CARGO")).args(tree).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let crates = text.lines().filter_map(|line| {
        let mut parts = line.split('|');
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    });
    crates.collect()
}

#[test]
fn every_crate_has_a_licence_that_the_policy_allows() {
    let allowed = texts(policy().get_array("licenses.allow").expect("a list"));
    let crates = crates();
    assert!(crates.len() > 100, "{crates:?}");
    let wrong: Vec<_> = crates.iter().filter(|(_, licence)| !is_allowed(licence, &allowed)).collect();
    assert_eq!(wrong, Vec::<&(String, String)>::new());
    for (expression, outcome) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("MIT/GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND OpenSSL", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), outcome, "{expression}");
    }
}

#[test]
fn every_crate_comes_from_the_registry_or_from_here_and_none_is_banned() {
    let banned = policy().get_array("bans.deny").expect("a list").into_iter();
    let banned: Vec<String> =
        banned.map(|entry| entry.into_table().expect("a table")["crate"].clone().into_string().expect("a name")).collect();
    for (name, _) in crates() {
        let (name, rest) = name.split_once(' ').unwrap_or((&name, ""));
        // After the version stands the source, unless it is crates.io; a macro crate says so.
        let source = rest.split_once('(').map(|(_, source)| source.trim_end_matches([')', ' '])).filter(|source| *source != "proc-macro");
        assert!(source.is_none_or(|source| Path::new(source.trim_start_matches("proc-macro) (")).starts_with(root())), "{name} {rest}");
        assert!(!banned.iter().any(|banned| banned == name), "{name} is banned");
    }
}

/// An upgrade of socketioxide to a version that needs another one brings that one, too.
#[test]
fn the_engine_below_socketioxide_is_the_one_of_this_workspace_and_no_other() {
    for path in ["Cargo.lock", "bench/Cargo.lock"] {
        let lock = Config::builder().add_source(File::from(root().join(path)).format(FileFormat::Toml)).build().expect("a lock is TOML");
        let packages = lock.get_array("package").expect("a list").into_iter().map(|package| package.into_table().expect("a table"));
        let packages: Vec<_> = packages.collect();
        let named =
            |name: &'static str| packages.iter().filter(move |package| package["name"].clone().into_string().is_ok_and(|n| n == name));
        let engines: Vec<_> = named("engineioxide").collect();
        assert!(matches!(engines[..], [engine] if !engine.contains_key("source")), "{path}: {engines:?}");
        for socketioxide in named("socketioxide") {
            let needs = texts(socketioxide["dependencies"].clone().into_array().expect("a list"));
            assert!(needs.contains(&"engineioxide".to_owned()), "{path}: {needs:?}");
        }
        assert!(lock.get_array("patch.unused").is_err(), "{path}: a patch is not used");
    }
}

#[test]
fn no_part_of_it_may_be_unsafe() {
    let manifest = |path: &str| Config::builder().add_source(File::from(root().join(path))).build().expect("a manifest is TOML");
    for workspace in ["Cargo.toml", "bench/Cargo.toml"] {
        assert_eq!(manifest(workspace).get_string("workspace.lints.rust.unsafe_code").expect("a level"), "forbid", "{workspace}");
    }
    for path in
        ["Cargo.toml", "engine/Cargo.toml", "entity/Cargo.toml", "migration/Cargo.toml", "bench/Cargo.toml", "bench/micro/Cargo.toml"]
    {
        assert!(manifest(path).get_bool("lints.workspace").expect("a flag"), "{path} has lints of its own");
    }
}
