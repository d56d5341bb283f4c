//! Scripts that servers keep.

use redis::{Arg, Cmd, ToRedisArgs};

/// A script of Lua. Servers know it by its digest once they saw its text, and forget it when they
/// end: the client then sends the text again.
#[derive(Clone)]
pub(in crate::components) struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    /// Of its text.
    pub(in crate::components) fn new(text: &'static str) -> Self {
        Self {
            text,
            digest: redis::Script::new(text).get_hash().to_owned(),
        }
    }

    /// A call with keys; the arguments come after them.
    pub(in crate::components) fn call<K: ToRedisArgs>(&self, keys: &[K]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.digest).arg(keys.len()).arg(keys);
        command
    }

    /// The same call with the text of the script.
    pub(super) fn in_full(&self, call: &Cmd) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.text);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_called_by_its_digest_and_in_full() {
        let words = |command: &Cmd| -> Vec<String> {
            let words = command.args_iter().map(|word| match word {
                Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                _ => unreachable!("no cursor is sent"),
            });
            words.collect()
        };
        let script = Script::new("return 1");
        let mut call = script.call(&["a", "b"]);
        call.arg("x");
        let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(words(&call), ["EVALSHA", digest, "2", "a", "b", "x"]);
        let full = script.in_full(&call);
        assert_eq!(words(&full), ["EVAL", "return 1", "2", "a", "b", "x"]);
    }
}
