//! Addresses that are made from an app id by a pattern, in the resolvers of Kubernetes and of
//! formats.

use super::address::{AddressError, PeerAddress};
use super::{Lookup, ResolveError};
use crate::base::names::is_dns_label;

/// A pattern of addresses.
///
/// Invariant: app id and namespace are DNS labels and fill only the places that the pattern has for
/// them, so that they choose no host beyond their own labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    AppId,
    Namespace,
    Port,
}

/// A pattern that makes no addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TemplateError {
    /// An action is not closed.
    #[error("{{{{ is not closed by }}}}")]
    Open,
    /// An action of Go's templates that is not one of the fields.
    #[error("{{{{{action}}}}} is not accepted: accepted are {{{{.ID}}}}, {{{{.Namespace}}}} and \
             {{{{.Port}}}}{}", .hint)]
    Action {
        /// What is between the braces.
        action: String,
        /// What else there is to say, beginning with `; `, or nothing.
        hint: &'static str,
    },
    /// The app id has no place in it.
    #[error("{{appid}} is missing")]
    NoAppId,
    /// What comes out is no address.
    #[error("what it makes is no address")]
    Address(#[source] AddressError),
}

impl Template {
    /// Reads a pattern with `{{.ID}}`, `{{.Namespace}}` and `{{.Port}}`, as of Go's templates.
    /// `port` is for `{{.Port}}`, and for patterns that have no port.
    pub(super) fn of_go(text: &str, port: u16) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once("{{") {
            let (action, after) = inside.split_once("}}").ok_or(TemplateError::Open)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(match action.trim() {
                ".ID" => Piece::AppId,
                ".Namespace" => Piece::Namespace,
                ".Port" => Piece::Port,
                other => {
                    let hint = if other.starts_with(".Data") {
                        "; nothing fills .Data"
                    } else {
                        ""
                    };
                    return Err(TemplateError::Action {
                        action: other.to_owned(),
                        hint,
                    });
                }
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Self { pieces, port }.checked()
    }

    /// Reads a pattern with `{appid}`. `port` is for patterns that have none.
    pub(super) fn of_format(text: &str, port: u16) -> Result<Self, TemplateError> {
        let mut texts = text.split("{appid}").map(str::to_owned).map(Piece::Text);
        let mut pieces: Vec<_> = texts.next().into_iter().collect();
        for text in texts {
            pieces.extend([Piece::AppId, text]);
        }
        if pieces.len() < 2 {
            return Err(TemplateError::NoAppId);
        }
        Self { pieces, port }.checked()
    }

    /// The address of an app.
    pub(super) fn address(&self, app: &Lookup<'_>) -> Result<PeerAddress, ResolveError> {
        for (what, text) in [("app id", app.app_id), ("namespace", app.namespace)] {
            if !is_dns_label(text) {
                return Err(ResolveError::NotALabel {
                    what,
                    text: text.to_owned(),
                });
            }
        }
        // A name may get too long, or end with a number.
        self.fill(app).map_err(|error| ResolveError::Failed {
            cause: error.into(),
        })
    }

    fn fill(&self, app: &Lookup<'_>) -> Result<PeerAddress, AddressError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::AppId => text.push_str(app.app_id),
                Piece::Namespace => text.push_str(app.namespace),
                Piece::Port => text.push_str(&self.port.to_string()),
            }
        }
        PeerAddress::parse_with_default(&text, self.port)
    }

    /// Tries the pattern with a letter that is no digit of any number, so that neither app id nor
    /// namespace is a piece of a port or of an IPv6 address.
    fn checked(self) -> Result<Self, TemplateError> {
        let sample = Lookup {
            app_id: "z",
            namespace: "z",
        };
        self.fill(&sample).map_err(TemplateError::Address)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tasks::with_causes;
    use proptest::prelude::*;

    const APP: Lookup<'static> = Lookup {
        app_id: "shop",
        namespace: "prod",
    };

    #[test]
    fn fills_patterns_of_go() {
        for (pattern, expected) in [
            (
                "{{.ID}}-dapr.{{.Namespace}}.svc.x:{{.Port}}",
                "shop-dapr.prod.svc.x:50002",
            ),
            (
                "{{ .ID }}.{{ .Namespace }}.internal",
                "shop.prod.internal:50002",
            ),
            ("gateway.internal:80", "gateway.internal:80"),
            ("{{.ID}}.{{.ID}}:1{{.Port}}", ""),
        ] {
            let made = Template::of_go(pattern, 50002).map(|it| it.address(&APP).unwrap());
            match made {
                Ok(address) => assert_eq!(address.as_str(), expected),
                Err(_) => assert_eq!(expected, "", "{pattern}"),
            }
        }
    }

    #[test]
    fn fills_formats() {
        let format = Template::of_format("{appid}.svc.{appid}.x:80", 50002).unwrap();
        assert_eq!(format.address(&APP).unwrap().as_str(), "shop.svc.shop.x:80");
        let format = Template::of_format("{appid}", 50002).unwrap();
        assert_eq!(format.address(&APP).unwrap().as_str(), "shop:50002");
    }

    #[test]
    fn says_what_is_wrong_with_a_pattern() {
        let go = |text| with_causes(&Template::of_go(text, 1).unwrap_err());
        let format = |text| with_causes(&Template::of_format(text, 1).unwrap_err());
        let accepted = "accepted are {{.ID}}, {{.Namespace}} and {{.Port}}";
        assert_eq!(go("{{.ID}"), "{{ is not closed by }}");
        assert_eq!(
            go("{{.Id}}.x"),
            format!("{{{{.Id}}}} is not accepted: {accepted}")
        );
        assert_eq!(
            go("{{.Data.region}}.x"),
            format!("{{{{.Data.region}}}} is not accepted: {accepted}; nothing fills .Data")
        );
        assert_eq!(format("a:80"), "{appid} is missing");
        let no_address = "what it makes is no address: \"http://z\" is not an address: accepted \
            are a host name, an IPv4 address or an IPv6 address in brackets, then \":\" and a port \
            (1-65535)";
        assert_eq!(go("http://{{.ID}}"), no_address);
        assert_eq!(format("http://{appid}"), no_address);
        // The app id would be a part of the port, or of an address.
        for pattern in ["x:{appid}", "x:1{appid}", "[::{appid}]:80"] {
            assert!(Template::of_format(pattern, 1).is_err(), "{pattern}");
        }
    }

    #[test]
    fn an_app_id_that_is_no_label_is_an_error() {
        let template = Template::of_format("{appid}.x", 1).unwrap();
        let bad = Lookup {
            app_id: "a.evil",
            namespace: "n",
        };
        assert_eq!(
            template.address(&bad).unwrap_err().to_string(),
            "app id \"a.evil\" cannot be part of a host name: accepted are 1 to 63 of the \
             characters a-z, 0-9 and \"-\", with a letter or digit at both ends"
        );
    }

    proptest! {
        #[test]
        fn no_app_id_changes_more_than_its_own_label(
            app_id in prop_oneof![".{0,80}", "[a-z0-9.:@/?#%\\[\\]-]{0,70}"],
            namespace in prop_oneof![".{0,80}", "[a-z0-9.:@/?#%\\[\\]-]{0,70}"],
        ) {
            let app = Lookup { app_id: &app_id, namespace: &namespace };
            for (template, labels, tail) in [
                (
                    Template::of_go("{{.ID}}-dapr.{{.Namespace}}.svc.cluster.local:{{.Port}}", 7),
                    vec![format!("{app_id}-dapr"), namespace.clone()],
                    "svc.cluster.local:7",
                ),
                (Template::of_format("{appid}.internal", 7), vec![app_id.clone()], "internal:7"),
            ] {
                if let Ok(address) = template.unwrap().address(&app) {
                    let mut parts = address.as_str().splitn(labels.len() + 1, '.');
                    for label in &labels {
                        prop_assert_eq!(parts.next(), Some(label.as_str()));
                    }
                    prop_assert_eq!(parts.next(), Some(tail));
                }
            }
        }
    }
}
