//! Types of data, as far as they decide on the form of an envelope.

/// What stands in an envelope whose publisher named no type (Dapr 1.18).
pub const DEFAULT: &str = "text/plain";
/// The type of bytes of which nothing is known.
pub const BINARY: &str = "application/octet-stream";
/// The type of an envelope.
pub const CLOUD_EVENT: &str = "application/cloudevents+json";

/// How data stands in an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As JSON.
    Json,
    /// The data is an envelope already.
    CloudEvent,
    /// As bytes, in base64.
    Binary,
    /// As a text.
    Text,
}

impl Kind {
    /// The kind of a type, whose parameters do not count.
    pub fn of(content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/json" => Self::Json,
            CLOUD_EVENT => Self::CloudEvent,
            BINARY | "application/cloudevents+protobuf" => Self::Binary,
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn parameters_and_case_do_not_count() {
        for (text, kind) in [
            ("application/json", Kind::Json),
            ("Application/JSON; charset=utf-8", Kind::Json),
            ("application/cloudevents+json;x=y", Kind::CloudEvent),
            ("application/octet-stream", Kind::Binary),
            ("application/cloudevents+protobuf", Kind::Binary),
            ("application/vnd.api+json", Kind::Text),
            ("application/jsonp", Kind::Text),
            ("text/plain", Kind::Text),
            ("", Kind::Text),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }
}
