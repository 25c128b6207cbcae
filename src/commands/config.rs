//! `tidings config`: the settings in effect, as a `config.toml`.

use tidings::config::Loaded;

use super::say;

/// Prints each setting with where it came from.
pub fn run(loaded: &Loaded) {
    let mut section = String::new();
    for setting in loaded.shown() {
        if setting.section != section {
            say(&format!("\n[{}]", setting.section));
            section = setting.section;
        }
        match setting.value {
            Some(value) => say(&format!("{} = {value}  # {}", setting.name, setting.origin)),
            None => say(&format!("# {} is not set", setting.name)),
        }
    }
}
