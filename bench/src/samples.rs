//! Figures of several rounds, and what they come to: median, range, percentiles. Where they come from is not known here.

/// The figures of several rounds.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// The middle one.
    pub fn median(&self) -> f64 {
        let mut sorted: Vec<f64> = self.0.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted.get(n / 2).copied().unwrap_or(f64::NAN),
            n => sorted.iter().skip(n / 2 - 1).take(2).sum::<f64>() / 2.0,
        }
    }

    /// The least and the greatest.
    pub fn range(&self) -> (f64, f64) {
        let finite = || self.0.iter().copied().filter(|v| v.is_finite());
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max))
    }

    /// This over that, round by round.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let median = self.median();
        if !median.is_finite() {
            return f.write_str("–");
        }
        let (least, most) = self.range();
        match self.0.len() {
            1 => f.write_str(&plain(median)),
            _ => write!(f, "{} ({}–{})", plain(median), plain(least), plain(most)),
        }
    }
}

/// Three digits that count, and thousands apart.
fn plain(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (n, c) in digits.chars().enumerate() {
                if n > 0 && (digits.len() - n) % 3 == 0 && !text.ends_with('-') {
                    text.push(' ');
                }
                text.push(c);
            }
            text
        }
    }
}

/// Percentiles of microseconds.
pub fn percentile(sorted: &[u32], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().map_or(f64::NAN, f64::from)
}

/// The middle of some figures.
pub fn median(values: &[f64]) -> f64 {
    Samples(values.to_vec()).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_say_their_median_and_their_range() {
        assert_eq!(Samples(vec![3.0, 1.0, 2.0]).to_string(), "2.00 (1.00–3.00)");
        assert_eq!(Samples(vec![1234567.0]).to_string(), "1 234 567");
        assert_eq!(Samples(vec![4.0, 9.0]).over(&Samples(vec![2.0, 3.0])).0, [2.0, 3.0]);
    }
}
