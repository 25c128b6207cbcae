//! What came out: tables of samples, goals that are met or not; as text, JSON and Markdown. Nothing is measured here.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::samples::Samples;

/// A table: a row per server, a column per figure.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What was done.
    pub title: String,
    /// How to read it.
    pub notes: Vec<String>,
    /// The names of the figures, with units.
    pub columns: Vec<String>,
    /// The servers.
    pub rows: Vec<(String, Vec<Samples>)>,
}

impl Table {
    /// An empty table.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self { title: title.to_owned(), columns: columns.iter().map(|c| (*c).to_owned()).collect(), ..Self::default() }
    }

    /// Explains something.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds the figures of a round to a row, which is made when it is not there.
    pub fn add(&mut self, row: &str, figures: &[f64]) {
        let at = self.rows.iter().position(|(name, _)| name == row).unwrap_or_else(|| {
            self.rows.push((row.to_owned(), vec![Samples::default(); self.columns.len()]));
            self.rows.len() - 1
        });
        for (samples, figure) in self.rows.get_mut(at).into_iter().flat_map(|(_, cells)| cells).zip(figures) {
            samples.0.push(*figure);
        }
    }

    /// A cell.
    pub fn cell(&self, row: &str, column: usize) -> Option<&Samples> {
        self.rows.iter().find(|(name, _)| name == row)?.1.get(column)
    }

    /// One row's figure over another's, round by round.
    pub fn ratio(&self, row: &str, over: &str, column: usize) -> Option<Samples> {
        Some(self.cell(row, column)?.over(self.cell(over, column)?)).filter(|s| !s.0.is_empty())
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let head = std::iter::once(String::new()).chain(self.columns.iter().cloned()).collect();
        let row =
            |(name, cells): &(String, Vec<Samples>)| std::iter::once(name.clone()).chain(cells.iter().map(Samples::to_string)).collect();
        std::iter::once(head).chain(self.rows.iter().map(row)).collect()
    }

    fn text(&self) -> String {
        let lines = self.lines();
        let width = |column: usize| lines.iter().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
        let mut text = format!("\n{}\n", self.title);
        for line in &lines {
            for (column, cell) in line.iter().enumerate() {
                let pad = " ".repeat(width(column) - cell.chars().count());
                text += &if column == 0 { format!("  {cell}{pad}") } else { format!("  {pad}{cell}") };
            }
            text.push('\n');
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n", self.title);
        for note in &self.notes {
            writeln!(text, "{note}\n").ok();
        }
        for (n, line) in self.lines().iter().enumerate() {
            writeln!(text, "| {} |", line.join(" | ")).ok();
            if n == 0 {
                writeln!(text, "|{}", " --- |".repeat(line.len())).ok();
            }
        }
        text
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(name, cells)| {
                let figures: serde_json::Map<String, Value> =
                    self.columns.iter().zip(cells).map(|(c, s)| (c.clone(), json!({"median": s.median(), "rounds": s.0}))).collect();
                json!({"name": name, "figures": figures})
            })
            .collect();
        json!({"title": self.title, "notes": self.notes, "rows": rows})
    }
}

/// Something that was promised.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The figure.
    pub what: String,
    /// What it should be.
    pub limit: String,
    /// What it is.
    pub measured: String,
    /// Whether that is enough.
    pub is_met: bool,
}

impl Goal {
    /// A figure that should be at least `limit`.
    pub fn at_least(what: &str, limit: f64, unit: &str, figures: &Samples) -> Self {
        let is_met = figures.median() >= limit;
        Self { what: what.into(), limit: format!("at least {}{unit}", short(limit)), measured: format!("{figures}{unit}"), is_met }
    }

    /// A figure that should be at most `limit`.
    pub fn at_most(what: &str, limit: f64, unit: &str, figures: &Samples) -> Self {
        let is_met = figures.median() <= limit;
        Self { what: what.into(), limit: format!("at most {}{unit}", short(limit)), measured: format!("{figures}{unit}"), is_met }
    }
}

fn short(value: f64) -> String {
    format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Where the time and the memory go, and why goals are not met: by hand, from other tools.
const PROFILE: &str = include_str!("../profile.md");

/// Everything.
#[derive(Default)]
pub struct Report {
    /// Machine and versions.
    pub facts: Vec<(String, String)>,
    /// What a reader must know before believing a figure.
    pub warnings: Vec<String>,
    /// The figures.
    pub tables: Vec<Table>,
    /// What was promised.
    pub goals: Vec<Goal>,
}

impl Report {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text: String = self.tables.iter().map(Table::text).collect();
        text += "\nGoals\n";
        for goal in &self.goals {
            writeln!(text, "  {}  {}: {}, should be {}", verdict(goal), goal.what, goal.measured, goal.limit).ok();
        }
        for warning in &self.warnings {
            writeln!(text, "\nNote: {warning}").ok();
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let goals = self.goals.iter().map(|g| json!({"what": g.what, "limit": g.limit, "measured": g.measured, "met": g.is_met}));
        json!({
            "facts": self.facts.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
            "warnings": self.warnings,
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "goals": goals.collect::<Vec<_>>(),
        })
    }

    /// For `docs/benchmarks.md`.
    pub fn markdown(&self, command: &str) -> String {
        let mut text = format!(
            "# Benchmarks\n\nWritten by `{command}`; run it again to have it written anew. Cells are the median of several rounds and, in \
             brackets, the least and the greatest. The servers take turns in each round, and ratios are taken round by round, so that what \
             disturbs the machine disturbs all of them. The server and its database have one core, the generator has the other. The generator \
             checks what it measures: a run in which a message is lost, doubled, out of order or not in the store fails.\n\n"
        );
        for warning in &self.warnings {
            writeln!(text, "**{warning}**\n").ok();
        }
        text += "The peer is a plain, decent Node server (`bench/peer`: socket.io, better-sqlite3 in WAL mode with `synchronous = FULL`) with the same \
                 handlers on the same tables. *Plain* commits each message, *group commit* commits what came in one turn of its event loop. tidings \
                 runs with its defaults, but for the rates, which would refuse a load test.\n";
        text += "\n| | |\n| --- | --- |\n";
        for (name, value) in &self.facts {
            writeln!(text, "| {name} | {value} |").ok();
        }
        text += "\n## Goals\n\n| | measured | should be | |\n| --- | --- | --- | --- |\n";
        for goal in &self.goals {
            writeln!(text, "| {} | {} | {} | {} |", goal.what, goal.measured, goal.limit, verdict(goal)).ok();
        }
        for table in &self.tables {
            text += &table.markdown();
        }
        text + PROFILE
    }
}

fn verdict(goal: &Goal) -> &'static str {
    if goal.is_met { "met" } else { "**not met**" }
}
