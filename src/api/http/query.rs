//! The query of a request.

use std::borrow::Cow;

/// The pairs of a query, decoded as a form (`+` is a space), in their order.
pub(crate) fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

/// The first value of a name.
pub(crate) fn first<'q>(query: Option<&'q str>, name: &str) -> Option<Cow<'q, str>> {
    pairs(query)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}
