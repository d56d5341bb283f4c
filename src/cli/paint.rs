//! Colours for people, none for pipes.

use std::io::IsTerminal;

use crate::base::environment::Environment;

/// How to mark text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Cyan,
    Dim,
    Green,
    Magenta,
    Red,
}

/// Whether a stream gets colours: it is a terminal and nobody asked for none
/// (<https://no-color.org>).
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// Decides for a stream.
    pub(super) fn of(stream: &impl IsTerminal, environment: &Environment) -> Self {
        Self(stream.is_terminal() && environment.non_empty("NO_COLOR").is_none())
    }

    /// The text in a colour, or as it is.
    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Cyan => 36,
            Colour::Dim => 2,
            Colour::Green => 32,
            Colour::Magenta => 35,
            Colour::Red => 31,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_no_colours() {
        let file = tempfile::tempfile().unwrap();
        let paint = Paint::of(&file, &Environment::default());
        assert_eq!(paint.paint(Colour::Red, "a"), "a");
        assert_eq!(Paint(true).paint(Colour::Red, "a"), "\u{1b}[31ma\u{1b}[0m");
    }
}
