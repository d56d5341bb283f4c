//! What is printed: one line a figure.

/// The figures so far.
#[derive(Default)]
pub(crate) struct Report {
    figures: usize,
    missed: usize,
}

impl Report {
    /// A ratio, or any figure, that should be at least `bound`.
    pub(crate) fn at_least(&mut self, name: &str, value: f64, bound: f64, details: &str) {
        self.line(
            name,
            value >= bound,
            &format!("{value:>7.2} (at least {bound})"),
            details,
        );
    }

    /// A figure that should be at most `bound`.
    pub(crate) fn at_most(&mut self, name: &str, value: f64, bound: f64, details: &str) {
        self.line(
            name,
            value <= bound,
            &format!("{value:>7.2} (at most {bound})"),
            details,
        );
    }

    fn line(&mut self, name: &str, holds: bool, value: &str, details: &str) {
        self.figures += 1;
        self.missed += usize::from(!holds);
        let verdict = if holds { "PASS" } else { "MISS" };
        println!("{verdict}  {name:<40} {value:<26} {details}");
    }

    /// The last line.
    pub(crate) fn summary(&self) -> String {
        format!("{} figures, {} missed", self.figures, self.missed)
    }
}
