//! Where in the app a message goes: the rules of a subscription, in CEL over `event`.

use std::collections::HashMap;
use std::sync::Arc;

use cel::{Context, Program};
use serde_json::{Map, Value};

use crate::base::expression::environment;
use crate::resources::routing_rule::EVENT;
use crate::resources::subscription::{Routes, Rule};

/// A rule that cannot be compiled, and why. It is an error of the subscription.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the rule of path {path:?} {problem}")]
pub(super) struct RoutesError {
    path: String,
    problem: String,
}

/// A rule that says nothing of a message: its expression failed, or is neither true nor false.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the rule of path {path:?} cannot be evaluated: {problem}")]
pub(super) struct Unroutable {
    path: String,
    problem: String,
}

/// The routes of a subscription, compiled.
#[derive(Debug)]
pub(super) struct Router {
    rules: Vec<Compiled>,
    default: Option<String>,
}

#[derive(Debug)]
struct Compiled {
    program: Program,
    path: String,
}

impl Router {
    /// Compiles the routes of a subscription.
    pub(super) fn new(routes: &Routes) -> Result<Self, RoutesError> {
        let rules: Result<_, _> = routes.rules.iter().map(Compiled::new).collect();
        Ok(Self {
            rules: rules?,
            default: routes.default.clone(),
        })
    }

    /// The path for a message with this envelope: that of the first rule that is true of it, else
    /// the default. `None` where it goes nowhere.
    /// The envelope is read only where there are rules.
    pub(super) fn route<'e>(
        &self,
        envelope: impl FnOnce() -> &'e Map<String, Value>,
    ) -> Result<Option<&str>, Unroutable> {
        if self.rules.is_empty() {
            return Ok(self.default.as_deref());
        }
        let mut context = Context::with_env(Arc::clone(environment()));
        context.add_variable_from_value(EVENT, map(envelope()));
        for rule in &self.rules {
            if rule.is_true(&context)? {
                return Ok(Some(&rule.path));
            }
        }
        Ok(self.default.as_deref())
    }
}

impl Compiled {
    fn new(rule: &Rule) -> Result<Self, RoutesError> {
        let path = rule.path.clone();
        match rule.compile() {
            Ok(program) => Ok(Self { program, path }),
            Err(problem) => Err(RoutesError { path, problem }),
        }
    }

    fn is_true(&self, context: &Context<'_, '_>) -> Result<bool, Unroutable> {
        let problem = match self.program.execute(context) {
            Ok(cel::Value::Bool(answer)) => return Ok(answer),
            Ok(other) => format!("it is of type {}, not true or false", other.type_of()),
            Err(error) => without_values(&error),
        };
        let path = self.path.clone();
        Err(Unroutable { path, problem })
    }
}

/// What went wrong in an expression. Most texts of the evaluator show the values that it met, which
/// are of the message and belong into no log.
fn without_values(error: &cel::ExecutionError) -> String {
    use cel::ExecutionError::{
        DivisionByZero, FunctionError, IndexOutOfBounds, NoSuchKey, NoSuchOverload, Overflow,
        RemainderByZero, UndeclaredReference, ValuesNotComparable,
    };
    match error {
        NoSuchKey(_) | NoSuchOverload(_) | UndeclaredReference(_) => error.to_string(),
        DivisionByZero(_) | RemainderByZero(_) => "a division by zero".to_owned(),
        Overflow(..) => "a number that is too large".to_owned(),
        IndexOutOfBounds(_) => "an index beyond the end of a list".to_owned(),
        ValuesNotComparable(..) => "a comparison of different types".to_owned(),
        FunctionError { function, .. } => format!("function {function:?} failed"),
        _ => "an operation on values that it cannot be made of".to_owned(),
    }
}

/// Numbers are of type `double`, whole ones too, as in Dapr.
fn value(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        Value::Number(number) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(values) => cel::Value::List(Arc::new(values.iter().map(value).collect())),
        Value::Object(fields) => map(fields),
    }
}

fn map(fields: &Map<String, Value>) -> cel::Value {
    let fields = fields
        .iter()
        .map(|(name, field)| (name.clone(), value(field)));
    cel::Value::Map(fields.collect::<HashMap<_, _>>().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn router(rules: &[(&str, &str)], default: Option<&str>) -> Result<Router, RoutesError> {
        let rule = |(expression, path): &(&str, &str)| Rule {
            expression: (*expression).to_owned(),
            path: (*path).to_owned(),
        };
        Router::new(&Routes {
            rules: rules.iter().map(rule).collect(),
            default: default.map(str::to_owned),
        })
    }

    fn envelope() -> Map<String, Value> {
        let event = json!({
            "id": "1", "type": "deposit", "topic": "t",
            "data": {"amount": 12000, "rate": 1.5, "region": "eu", "items": [1, 2], "none": null,
                     "big": 12345678901234567890_u64, "flag": true},
        });
        event.as_object().unwrap().clone()
    }

    fn is_true(expression: &str) -> Result<bool, String> {
        let router = router(&[(expression, "yes")], Some("no")).unwrap();
        let envelope = envelope();
        let path = router
            .route(|| &envelope)
            .map_err(|error| error.to_string())?;
        Ok(path == Some("yes"))
    }

    #[test]
    fn the_first_rule_that_is_true_decides() {
        let rules = [
            (r#"event.type == "withdrawal""#, "w"),
            (r#"event.type == "deposit""#, "d"),
            ("true", "t"),
        ];
        let envelope = envelope();
        for (count, default, expected) in [
            (3, Some("x"), Some("d")),
            (1, Some("x"), Some("x")),
            (1, None, None),
            (0, Some("x"), Some("x")),
            (0, None, None),
        ] {
            let router = router(&rules[..count], default).unwrap();
            assert_eq!(router.route(|| &envelope).unwrap(), expected);
        }
    }

    #[test]
    fn rules_of_daprs_documents_are_understood() {
        for (expression, expected) in [
            (
                r#"event.type == "deposit" && int(event.data.amount) > 10000"#,
                true,
            ),
            ("event.data.amount > 10000", true),
            ("event.data.amount > 11999.5", true),
            ("event.data.amount == 12000", true),
            ("event.data.amount * 2.0 == 24000.0", true),
            ("event.data.rate < 1", false),
            ("event.data.items[0] == 1", true),
            ("event.data.items.exists(x, x == 2)", true),
            ("size(event.data.items) == 2", true),
            ("2 in event.data.items", true),
            (r#"event.data.region in ["eu", "us"]"#, true),
            (r#"has(event.data.region) && event.data.region != """#, true),
            ("has(event.data.missing)", false),
            ("event.data.none == null", true),
            ("event.data.flag", true),
            (r#"event.type.startsWith("dep")"#, true),
            (r#"event.type.contains("posi")"#, true),
            (r#"event.type.matches("^d[a-z]+t$")"#, true),
            (r#"event["type"] == "deposit""#, true),
            ("!(event.data.big > 0)", false),
            // What stands behind an alternative that decides is not looked at.
            ("event.data.flag || event.missing.x", true),
        ] {
            assert_eq!(is_true(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_neither_true_nor_false_is_an_error_without_values_of_the_message() {
        for (expression, problem) in [
            ("event.missing == 1", "No such key: missing"),
            ("event.type", "it is of type string, not true or false"),
            ("1 / int(event.data.rate - 1.5) == 1", "a division by zero"),
            (
                "event.data.items[7] == 1",
                "an index beyond the end of a list",
            ),
            (r#"event.type.matches("(")"#, r#"function "matches" failed"#),
        ] {
            let expected = format!("the rule of path \"yes\" cannot be evaluated: {problem}");
            assert_eq!(is_true(expression), Err(expected), "{expression}");
        }
        for expression in [
            "event.type + event.data == 1",
            "event.type > event.data",
            "event.type()",
            "-event.type == 1",
            "event.data[event.data] == 1",
            "{event.data: 1}.size() == 1",
            "int(event.type) == 1",
        ] {
            let error = is_true(expression).unwrap_err();
            assert!(
                !error.contains("deposit") && !error.contains("12000"),
                "{error}"
            );
        }
    }

    #[test]
    fn rules_that_cannot_be_compiled_are_told() {
        for (expression, expected) in [
            (
                "evnt.type == 'a'",
                "the rule of path \"p\" \"evnt.type == 'a'\" uses \"evnt\", which is not known; \
                 accepted are event; did you mean \"event\"?",
            ),
            ("event.type ==", "is no expression of CEL"),
            ("", "the rule of path \"p\" \"\" is no expression of CEL"),
        ] {
            let error = router(&[(expression, "p")], None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// Each at its limit, on the stack of a test's thread, which is that of a worker.
    #[test]
    fn nested_rules_and_events_cannot_overflow_the_stack() {
        let (brackets, depth) = (32, 22);
        for longest in [
            format!("{}true{}", "(".repeat(brackets), ")".repeat(brackets)),
            format!("{}true", "!".repeat(4000)),
            format!("{}1 > 0", "1+".repeat(depth)),
            format!("{}true", "false?true:".repeat(depth)),
            format!("{}false", "false||".repeat(580)),
            format!("event.data{}", "[0]".repeat(depth)),
            format!("{}event{} > 0", "size(".repeat(depth), ")".repeat(depth)),
            format!("{}1{} == 1", "[".repeat(depth), "]".repeat(depth)),
            format!("{}1{} == 1", "{1:".repeat(depth), "}".repeat(depth)),
            format!(
                "{}true{}",
                "[1].all(x,".repeat(depth / 2),
                ")".repeat(depth / 2)
            ),
            format!("event{} > 0", ".a".repeat(depth)),
            format!("{}event", "event in ".repeat(depth)),
        ] {
            let router = router(&[(&longest, "p")], None);
            let router = router.unwrap_or_else(|error| panic!("{longest}: {error}"));
            let event = envelope();
            let _ = router.route(|| &event);
        }
        let depth = 120;
        let deep = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let deep = serde_json::from_str::<Value>(&deep).unwrap();
        let router = router(&[("has(event.a)", "p")], None).unwrap();
        assert_eq!(router.route(|| deep.as_object().unwrap()), Ok(Some("p")));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(rule in "[a-z0-9()\\[\\]{}<>=!&|+*/?:., '\"\\\\-]{0,40}") {
            if let Ok(router) = router(&[(&rule, "p")], None) {
                let event = envelope();
                let _ = router.route(|| &event);
            }
        }
    }
}
