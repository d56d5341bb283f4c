//! Expressions of CEL, as users write them into resources: compiled once, within limits, over names
//! that are known.

use std::sync::{Arc, OnceLock};
use std::thread;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};
use cel::{Env, Program};

use super::names::nearest;

/// The stack of the thread that parses. The parser descends into each bracket and operator, and
/// takes up to 128 KiB for one (debug build).
const PARSER_STACK: usize = 64 * 1024 * 1024;

/// The names of types, which stand for themselves.
const TYPES: [&str; 11] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// How large an expression may be. Brackets and operators count wherever they stand, in texts
/// too: what the parser makes of a broken text nobody can say beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes.
    pub bytes: usize,
    /// The most brackets and conditions.
    pub brackets: usize,
    /// The most characters of operators, brackets among them.
    pub operators: usize,
}

/// The standard functions of CEL, made once.
pub fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Arc::new(Env::stdlib()))
}

/// Compiles an expression that uses no other variables than the `known` ones.
///
/// # Errors
///
/// What is wrong with it.
pub fn compile(text: &str, limits: &Limits, known: &[&str]) -> Result<Program, String> {
    let Limits {
        bytes,
        brackets,
        operators,
    } = limits;
    if text.len() > *bytes {
        return Err(format!("has more than {bytes} bytes"));
    }
    if text.matches(['(', '[', '{', '?']).count() > *brackets {
        return Err(format!("has more than {brackets} brackets and conditions"));
    }
    let operator = |c: char| c.is_ascii_punctuation() && c != '_';
    if text.matches(operator).count() > *operators {
        return Err(format!("has more than {operators} operators"));
    }
    let program = parse(text)?;
    match unknown(program.expression(), &mut known.to_vec()) {
        None => Ok(program),
        Some(name) => {
            let hint = nearest(name, known.iter().copied())
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            let known = known.join(", ");
            Err(format!(
                "{text:?} uses {name:?}, which is not known; accepted are {known}{hint}"
            ))
        }
    }
}

/// Parses on a thread of its own, whose stack is large enough for it.
fn parse(text: &str) -> Result<Program, String> {
    let parsed = thread::scope(|scope| {
        let parser = thread::Builder::new().stack_size(PARSER_STACK);
        let parser = parser.spawn_scoped(scope, || environment().compile(text));
        parser
            .map_err(|error| format!("cannot be parsed: {error}"))?
            .join()
            .map_err(|_| format!("{text:?} cannot be parsed"))
    })?;
    parsed.map_err(|errors| format!("{text:?} is no expression of CEL: {}", plain(&errors)))
}

/// The message of a parser in one line.
fn plain(errors: &cel::ParseErrors) -> String {
    let text = errors.to_string();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The first variable that is not in scope.
fn unknown<'e>(expression: &'e IdedExpr, scope: &mut Vec<&'e str>) -> Option<&'e str> {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => None,
        Expr::Ident(name) => {
            let is_known = scope.contains(&name.as_str()) || TYPES.contains(&name.as_str());
            (!is_known).then_some(name)
        }
        Expr::Select(select) => unknown(&select.operand, scope),
        Expr::Call(CallExpr { target, args, .. }) => {
            let target = target.iter().map(AsRef::as_ref);
            first_unknown(target.chain(args), scope)
        }
        Expr::List(list) => first_unknown(&list.elements, scope),
        Expr::Map(map) => entries(map.entries.iter().map(|entry| &entry.expr), scope),
        Expr::Struct(object) => entries(object.entries.iter().map(|entry| &entry.expr), scope),
        Expr::Comprehension(of) => {
            let outer = scope.len();
            if let Some(name) = first_unknown([&of.iter_range, &of.accu_init], scope) {
                return Some(name);
            }
            scope.extend([of.iter_var.as_str(), of.accu_var.as_str()]);
            scope.extend(of.iter_var2.as_deref());
            let found = first_unknown([&of.loop_cond, &of.loop_step, &of.result], scope);
            scope.truncate(outer);
            found
        }
    }
}

fn entries<'e>(
    mut entries: impl Iterator<Item = &'e EntryExpr>,
    scope: &mut Vec<&'e str>,
) -> Option<&'e str> {
    entries.find_map(|entry| match entry {
        EntryExpr::StructField(field) => unknown(&field.value, scope),
        EntryExpr::MapEntry(entry) => first_unknown([&entry.key, &entry.value], scope),
    })
}

fn first_unknown<'e>(
    expressions: impl IntoIterator<Item = &'e IdedExpr>,
    scope: &mut Vec<&'e str>,
) -> Option<&'e str> {
    expressions
        .into_iter()
        .find_map(|expression| unknown(expression, scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 512,
        brackets: 16,
        operators: 64,
    };

    fn refusal(text: &str) -> Option<String> {
        compile(text, &LIMITS, &["event"]).err()
    }

    #[test]
    fn refuses_variables_that_are_not_known() {
        for good in [
            "event.a == 1",
            "has(event.a) && event.a.exists(x, x > 1)",
            "type(event.a) == int",
            "event.a.map(x, event.b.filter(y, y == x)).size() == {'k': event.c}.size()",
        ] {
            assert_eq!(refusal(good), None, "{good}");
        }
        for (bad, name) in [
            ("evnt.a == 1", "evnt"),
            ("event.a.exists(x, x > y)", "y"),
            // What a macro brings is known inside of it only.
            ("event.a.exists(x, x > 1) && x == 2", "x"),
            ("[event, {a: 1}].size() == 2", "a"),
        ] {
            let expected = format!("uses {name:?}, which is not known; accepted are event");
            assert!(
                refusal(bad).is_some_and(|text| text.contains(&expected)),
                "{bad}"
            );
        }
    }

    #[test]
    fn says_what_is_no_expression() {
        for bad in ["", "event.", "event.a ==", "'a", "(event"] {
            let refusal = refusal(bad);
            assert!(
                refusal.is_some_and(|text| text.contains("is no expression of CEL")),
                "{bad}"
            );
        }
    }
}
