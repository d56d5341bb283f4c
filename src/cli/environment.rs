//! The only place that reads the environment of the process.

use std::ffi::OsString;

use crate::base::environment::Environment;

/// The variables whose values must not vanish: a token that is set is never "no authentication".
const TOKENS: [&str; 2] = ["DAPR_API_TOKEN", "APP_API_TOKEN"];

/// Reads the environment once. Variables that are no UTF-8 are left out, but for the tokens: their
/// bytes are replaced by characters that no token may have, so that reading them is an error.
pub(super) fn read() -> Environment {
    std::env::vars_os().filter_map(readable).collect()
}

fn readable((name, value): (OsString, OsString)) -> Option<(String, String)> {
    let name = name.into_string().ok()?;
    match value.into_string() {
        Ok(value) => Some((name, value)),
        Err(value) if TOKENS.contains(&name.as_str()) => {
            Some((name, value.to_string_lossy().into_owned()))
        }
        Err(_) => None,
    }
}

/// The name of the host, which in a pod is that of the pod.
pub(super) fn host_name(environment: &Environment) -> String {
    match environment.non_empty("HOSTNAME") {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;
    use crate::base::token::Token;

    #[test]
    fn a_token_that_is_no_utf_8_is_an_error_and_not_unset() {
        let broken = || OsString::from_vec(vec![b'a', 0xff]);
        let (_, value) = readable(("DAPR_API_TOKEN".into(), broken())).unwrap();
        assert!(Token::parse("DAPR_API_TOKEN", Some(&value)).is_err());
        assert_eq!(readable(("OTHER".into(), broken())), None);
    }
}
