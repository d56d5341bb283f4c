//! The app token, as it goes on calls to the app.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::token::{TOKEN_HEADER, Token};

const HEADER: HeaderName = HeaderName::from_static(TOKEN_HEADER);

/// The app token as a header value.
///
/// Invariant: the value leaves this type by [`AppToken::attach`] only, which only
/// [`super::transport::Transport::send`] calls.
#[derive(Debug)]
pub(super) struct AppToken(Option<HeaderValue>);

impl AppToken {
    pub(super) fn new(token: Option<&Token>) -> Self {
        Self(token.map(|token| {
            let mut value = HeaderValue::from_str(token.secret().expose())
                .expect("a Token holds only characters of header values");
            // Hides it from Debug, and from the compression table of HTTP/2.
            value.set_sensitive(true);
            value
        }))
    }

    /// Sets the token. Where there is none, only removes what a caller may have sent.
    pub(super) fn attach(&self, headers: &mut HeaderMap) {
        match &self.0 {
            Some(value) => {
                headers.insert(HEADER, value.clone());
            }
            None => {
                headers.remove(HEADER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> AppToken {
        let parsed = Token::parse("APP_API_TOKEN", Some(text)).unwrap().unwrap();
        AppToken::new(Some(&parsed.token))
    }

    #[test]
    fn replaces_every_value_that_a_caller_sent() {
        for (own, expected) in [(token("own"), vec!["own"]), (AppToken(None), vec![])] {
            let mut headers = HeaderMap::new();
            headers.append(HEADER, HeaderValue::from_static("spoof"));
            headers.append("Dapr-Api-Token", HeaderValue::from_static("spoof2"));
            own.attach(&mut headers);
            let seen: Vec<_> = headers.get_all(HEADER).iter().collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn shows_nothing_of_its_value() {
        assert_eq!(
            format!("{:?}", token("hunter2")),
            "AppToken(Some(Sensitive))"
        );
    }
}
