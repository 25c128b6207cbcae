//! What an examination finds, for an operator: what was looked at, how it stands, and what to do. Who looks stands in `store`, `cluster` and
//! the command `doctor`.

use std::fmt;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// The server runs, but something is worse than it need be.
    Warning,
    /// The server does not start, or does not do what it is for.
    Problem,
}

/// Something that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How it stands.
    pub level: Level,
    /// What it is, in a word.
    pub about: &'static str,
    /// What was found.
    pub found: String,
    /// What to do; empty when all is well.
    pub advice: String,
}

impl Finding {
    /// All is well.
    pub fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, about, found: found.into(), advice: String::new() }
    }

    /// It works, but.
    pub fn warning(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, about, found: found.into(), advice: advice.into() }
    }

    /// It does not work.
    pub fn problem(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Problem, about, found: found.into(), advice: advice.into() }
    }

    /// How far another clock is ahead of ours; `whose` it is, and in milliseconds.
    pub fn clock(whose: &str, ahead: i64) -> Self {
        const ABOUT: &str = "clock";
        let found = format!("{} ms {} {whose}'s", ahead.abs(), if ahead > 0 { "behind" } else { "ahead of" });
        let advice = "keep both machines' clocks by NTP (timedatectl set-ntp true): tokens end and moments are told by them";
        match ahead.abs() {
            0..=1000 => Self::ok(ABOUT, found),
            1001..=30_000 => Self::warning(ABOUT, found, advice),
            _ => Self::problem(ABOUT, found, advice),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        write!(f, "{level:<8} {:<13} {}", self.about, self.found)?;
        if !self.advice.is_empty() {
            write!(f, "\n         → {}", self.advice)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_a_warning_from_a_second_and_a_problem_from_half_a_minute_either_way() {
        for (ahead, level) in
            [(0, Level::Ok), (-1000, Level::Ok), (1001, Level::Warning), (-30_000, Level::Warning), (30_001, Level::Problem)]
        {
            assert_eq!(Finding::clock("the database", ahead).level, level, "{ahead}");
        }
        assert_eq!(Finding::clock("Redis", 5).found, "5 ms behind Redis's");
    }
}
