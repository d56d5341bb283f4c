//! The query of a request.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What the query calls the parameters of a request: `metadata.version_id=15`.
const PARAMETER_PREFIX: &str = "metadata.";

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

/// The parameters of a request; of several with one name the first counts.
pub(super) fn parameters(query: Option<&str>) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs(query) {
        if let Some(name) = name.strip_prefix(PARAMETER_PREFIX) {
            let entry = parameters.entry(name.to_owned());
            entry.or_insert_with(|| value.into_owned());
        }
    }
    parameters
}
