//! Connection strings: a URL, or names with values, as PostgreSQL's own programs take them.

use percent_encoding::percent_decode_str;

use super::parameters::Parameters;

/// Why a text is no connection string. It holds no piece of the text, in which a password may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the connection string is neither a URL such as \"postgres://user@host:5432/database\" nor \
     names with values such as \"host=… user=… database=…\": {0}"
)]
pub(super) struct Malformed(&'static str);

/// What stands between the scheme of a URL and the rest.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Reads one. Of a name that is there twice, the later counts.
pub(super) fn parse(text: &str) -> Result<Parameters, Malformed> {
    let text = text.trim();
    match SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => of_url(rest),
        None => of_pairs(text),
    }
}

/// `user:password@host:port,host:port/database?name=value&name=value`.
fn of_url(rest: &str) -> Result<Parameters, Malformed> {
    let mut found = Parameters::default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    for (name, value) in [("user", user), ("password", password), ("dbname", database)] {
        if !value.is_empty() {
            found.put(name, decoded(value)?);
        }
    }
    put_hosts(&mut found, hosts)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Malformed("a parameter after \"?\" has no value"));
        };
        found.put(&decoded(name)?, decoded(value)?);
    }
    Ok(found)
}

/// `host:port,[::1]:port`, where each may lack its port. Those that lack it have the usual one.
fn put_hosts(found: &mut Parameters, hosts: &str) -> Result<(), Malformed> {
    if hosts.is_empty() {
        return Ok(());
    }
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest
                    .split_once(']')
                    .ok_or(Malformed("a \"]\" is missing"))?;
                (name, port.strip_prefix(':').unwrap_or(port))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decoded(name)?);
        ports.push(port);
    }
    found.put("host", names.join(","));
    if ports.iter().any(|port| !port.is_empty()) {
        let usual = |port: &&str| if port.is_empty() { "5432" } else { *port }.to_owned();
        let ports: Vec<_> = ports.iter().map(usual).collect();
        found.put("port", ports.join(","));
    }
    Ok(())
}

fn decoded(text: &str) -> Result<String, Malformed> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Malformed("an escape is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// `name = value`, with blanks between pairs. A value with blanks is in single quotes; a backslash
/// takes the next character as it is.
fn of_pairs(text: &str) -> Result<Parameters, Malformed> {
    let mut found = Parameters::default();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else {
            return Err(Malformed("a name has no \"=\" and value"));
        };
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Malformed("before a \"=\" is not one name"));
        }
        let (value, after) = value(after.trim_start())?;
        found.put(name, value);
        rest = after.trim_start();
    }
    Ok(found)
}

/// A value, and what comes after it.
fn value(text: &str) -> Result<(String, &str), Malformed> {
    let (is_quoted, text) = match text.strip_prefix('\'') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                let (_, escaped) = characters
                    .next()
                    .ok_or(Malformed("it ends in a backslash"))?;
                value.push(escaped);
            }
            '\'' if is_quoted => return Ok((value, &text[at + 1..])),
            blank if blank.is_whitespace() && !is_quoted => return Ok((value, &text[at..])),
            other => value.push(other),
        }
    }
    if is_quoted {
        return Err(Malformed("a closing quote is missing"));
    }
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().exposed()
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn reads_names_with_values() {
        for (text, expected) in [
            ("", &[][..]),
            (
                "host=localhost user = postgres  password=a=b database=d",
                &[
                    ("dbname", "d"),
                    ("host", "localhost"),
                    ("password", "a=b"),
                    ("user", "postgres"),
                ],
            ),
            (
                r"password='two \'words\' \\' user=a\ b host=",
                &[
                    ("host", ""),
                    ("password", r"two 'words' \"),
                    ("user", "a b"),
                ],
            ),
            ("port=1 PORT=2", &[("port", "2")]),
        ] {
            assert_eq!(pairs(text), owned(expected), "{text}");
        }
    }

    #[test]
    fn reads_urls() {
        for (text, expected) in [
            ("postgres://", &[][..]),
            (
                "postgresql://us%40er:p%2Fw:@one,[::1]:6000/my%20db?sslmode=require&user=other",
                &[
                    ("dbname", "my db"),
                    ("host", "one,::1"),
                    ("password", "p/w:"),
                    ("port", "5432,6000"),
                    ("sslmode", "require"),
                    ("user", "other"),
                ],
            ),
            (
                "postgres:///d?host=/var/run/postgresql",
                &[("dbname", "d"), ("host", "/var/run/postgresql")],
            ),
            (
                "postgres://%2Fvar%2Frun/d",
                &[("dbname", "d"), ("host", "/var/run")],
            ),
        ] {
            assert_eq!(pairs(text), owned(expected), "{text}");
        }
    }

    #[test]
    fn shows_nothing_of_what_it_cannot_read() {
        for text in [
            "hunter2",
            "this is not hunter2=x",
            "password='hunter2",
            "password=hunter2\\",
            "=hunter2",
            "postgres://hunter2%ff@host",
            "postgres://[hunter2/d",
            "postgres://host/d?hunter2",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
