//! The rules that say where in the app a message goes: expressions of CEL over its envelope.

use cel::Program;

use super::subscription::{Routes, Rule};
use crate::base::expression::{Limits, compile};

/// The one variable of a rule: the envelope.
pub const EVENT: &str = "event";

/// How large the expression of a rule may be.
const LIMITS: Limits = Limits {
    bytes: 4096,
    brackets: 32,
};

/// The most rules of a subscription. All of them may be looked at for each message.
const MAX_RULES: usize = 64;

impl Rule {
    /// Its expression, ready to be evaluated.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn compile(&self) -> Result<Program, String> {
        compile(&self.expression, &LIMITS, &[EVENT])
    }
}

impl Routes {
    /// Whether all rules can be used.
    ///
    /// # Errors
    ///
    /// The field that cannot be, and why.
    pub fn check(&self) -> Result<(), (String, String)> {
        let count = self.rules.len();
        if count > MAX_RULES {
            let problem = format!("has {count} rules; accepted are up to {MAX_RULES}");
            return Err(("routes.rules".to_owned(), problem));
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let field = || format!("routes.rules[{at}].match");
            rule.compile().map_err(|problem| (field(), problem))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(rules: &[&str]) -> Routes {
        let rule = |expression: &&str| Rule {
            expression: (*expression).to_owned(),
            path: "p".to_owned(),
        };
        Routes {
            rules: rules.iter().map(rule).collect(),
            default: None,
        }
    }

    #[test]
    fn rules_that_cannot_be_used_are_told_with_their_place() {
        let problem = |rules: &[&str]| routes(rules).check().unwrap_err();
        let (field, text) = problem(&["true", "evnt.type == 'a'"]);
        assert_eq!(field, "routes.rules[1].match");
        assert_eq!(
            text,
            "\"evnt.type == 'a'\" uses \"evnt\", which is not known; accepted are event; did you \
             mean \"event\"?"
        );
        let (_, text) = problem(&["event.type =="]);
        assert!(text.contains("is no expression of CEL"), "{text}");
        let many = vec!["true"; MAX_RULES + 1];
        let (field, text) = problem(&many);
        assert_eq!(field, "routes.rules");
        assert_eq!(text, "has 65 rules; accepted are up to 64");
        assert_eq!(routes(&many[1..]).check(), Ok(()));
    }

    #[test]
    fn rules_have_a_limit_of_size() {
        for (over, expected) in [
            ("x".repeat(LIMITS.bytes + 1), "has more than 4096 bytes"),
            (
                "(".repeat(LIMITS.brackets + 1),
                "has more than 32 brackets and conditions",
            ),
            (
                format!("{}1 > 0", "1+".repeat(99)),
                "is nested more than 24 deep",
            ),
        ] {
            let (_, problem) = routes(&[&over]).check().unwrap_err();
            assert_eq!(problem, expected);
        }
    }
}
