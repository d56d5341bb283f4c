//! When a circuit breaker opens: an expression of CEL over what it counted.

use std::fmt;
use std::sync::Arc;

use cel::{Context, Program, Value};

use crate::base::expression::{Limits, compile, environment};

/// When a breaker opens for which nothing is said (Dapr 1.18).
const DEFAULT: &str = "consecutiveFailures > 5";
/// How large an expression may be. It is looked at after each failure.
const LIMITS: Limits = Limits {
    bytes: 512,
    brackets: 8,
};

/// What a circuit breaker counted since it came into its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that it let through.
    pub requests: u32,
    /// Those that worked.
    pub total_successes: u32,
    /// Those that failed.
    pub total_failures: u32,
    /// Those that worked, since the last failure.
    pub consecutive_successes: u32,
    /// Those that failed, since the last success.
    pub consecutive_failures: u32,
}

impl Counts {
    /// The counts under the names that expressions use.
    fn named(self) -> [(&'static str, u32); 5] {
        [
            ("requests", self.requests),
            ("totalSuccesses", self.total_successes),
            ("totalFailures", self.total_failures),
            ("consecutiveSuccesses", self.consecutive_successes),
            ("consecutiveFailures", self.consecutive_failures),
        ]
    }

    /// What an expression is tried with when it is read: the first failure, and a mixture, so that
    /// a division by zero in one of them does not make it wrong.
    fn samples() -> [Self; 2] {
        let first = Self {
            requests: 1,
            total_failures: 1,
            consecutive_failures: 1,
            ..Self::default()
        };
        let mixture = Self {
            requests: 5,
            total_successes: 2,
            total_failures: 3,
            consecutive_successes: 1,
            consecutive_failures: 1,
        };
        [first, mixture]
    }
}

/// An expression that says when a circuit breaker opens. Cheap to clone.
///
/// Invariant: it can be evaluated, and answers a truth value.
#[derive(Clone)]
pub struct Trip(Arc<Expression>);

struct Expression {
    text: String,
    /// `None` for [`DEFAULT`].
    program: Option<Program>,
}

impl Default for Trip {
    fn default() -> Self {
        Self(Arc::new(Expression {
            text: DEFAULT.to_owned(),
            program: None,
        }))
    }
}

impl fmt::Debug for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trip({:?})", self.0.text)
    }
}

impl PartialEq for Trip {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Trip {
    /// Compiles an expression, and tries it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = Counts::default().named().map(|(name, _)| name);
        let program = compile(text, &LIMITS, &known)?;
        let mut problem = None;
        let mut works = false;
        for counts in Counts::samples() {
            match evaluate(&program, counts) {
                Ok(Value::Bool(_)) => works = true,
                Ok(other) => {
                    let kind = other.type_of();
                    return Err(format!("{text:?} is of type {kind}, not true or false"));
                }
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        match problem {
            Some(problem) if !works => Err(format!("{text:?} cannot be evaluated: {problem}")),
            _ => Ok(Self(Arc::new(Expression {
                text: text.to_owned(),
                program: Some(program),
            }))),
        }
    }

    /// Whether a breaker that counted this opens. What cannot be evaluated (a division by zero) is
    /// no reason to open.
    pub fn is_met(&self, counts: Counts) -> bool {
        match &self.0.program {
            None => counts.consecutive_failures > 5,
            Some(program) => matches!(evaluate(program, counts), Ok(Value::Bool(true))),
        }
    }
}

fn evaluate(program: &Program, counts: Counts) -> Result<Value, String> {
    let mut context = Context::with_env(Arc::clone(environment()));
    for (name, count) in counts.named() {
        context.add_variable_from_value(name, i64::from(count));
    }
    program.execute(&context).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(consecutive: u32) -> Counts {
        Counts {
            requests: 10,
            total_successes: 10 - consecutive,
            total_failures: consecutive,
            consecutive_failures: consecutive,
            ..Counts::default()
        }
    }

    #[test]
    fn looks_at_what_was_counted() {
        for (text, opens_at) in [
            ("consecutiveFailures >= 3", 3),
            ("consecutiveFailures > 5", 6),
            ("requests >= 10 && totalFailures * 100 / requests >= 40", 4),
            // Nothing succeeded: a division by zero, which is no reason to open.
            ("totalFailures / totalSuccesses >= 4", 8),
        ] {
            let trip = Trip::parse(text).unwrap();
            let opens = (1..10).find(|count| trip.is_met(failures(*count)));
            assert_eq!(opens, Some(opens_at), "{text}");
        }
        assert!(
            !Trip::parse("totalFailures / totalSuccesses >= 4")
                .unwrap()
                .is_met(failures(10))
        );
    }

    #[test]
    fn opens_after_more_than_five_failures_unless_said() {
        let written = Trip::parse(DEFAULT).unwrap();
        for count in 0..9 {
            let counts = failures(count);
            assert_eq!(Trip::default().is_met(counts), written.is_met(counts));
        }
        assert!(Trip::default() == written);
    }

    #[test]
    fn refuses_what_would_never_open() {
        for (text, expected) in [
            (
                "consecutiveFailure > 5",
                "\"consecutiveFailure > 5\" uses \"consecutiveFailure\", which is not known; \
                 accepted are requests, totalSuccesses, totalFailures, consecutiveSuccesses, \
                 consecutiveFailures; did you mean \"consecutiveFailures\"?",
            ),
            (
                "totalFailures + 1",
                "\"totalFailures + 1\" is of type int, not true or false",
            ),
        ] {
            assert_eq!(Trip::parse(text).unwrap_err(), expected);
        }
        let refusal = |text: &str| Trip::parse(text).unwrap_err();
        assert!(refusal("requests >").contains("is no expression of CEL"));
        assert!(refusal("").contains("is no expression of CEL"));
        assert!(refusal("requests > 'a'").contains("cannot be evaluated"));
    }

    #[test]
    fn long_and_nested_expressions_cannot_overflow_the_stack() {
        let refusal = |text: &str| Trip::parse(text).err();
        for (text, expected) in [
            ("requests".repeat(65), "has more than 512 bytes"),
            ("(".repeat(9), "has more than 8 brackets and conditions"),
            (
                format!("{}1 > 0", "1+".repeat(31)),
                "is nested more than 24 deep",
            ),
        ] {
            assert_eq!(refusal(&text).as_deref(), Some(expected));
        }
        for (longest, is_good) in [
            (format!("{}true{}", "(".repeat(8), ")".repeat(8)), true),
            ("(".repeat(8), false),
            (format!("{}true", "!".repeat(32)), true),
            (format!("{}1 > 0", "1+".repeat(22)), true),
            (format!("{}true", "true?true:".repeat(8)), true),
            (format!("{}true", "true||".repeat(16)), true),
            (format!("requests{} > 0", ".a".repeat(31)), false),
        ] {
            let refusal = refusal(&longest);
            assert_eq!(refusal.is_none(), is_good, "{longest}: {refusal:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-z0-9()\\[\\]{}<>=!&|+*/?:., '\"-]{0,40}") {
            let _ = Trip::parse(&text);
        }
    }
}
