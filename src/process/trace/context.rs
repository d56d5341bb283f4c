//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>, levels 1 and 2): where in which trace
//! a call stands. Pure.
//!
//! Invariant: a [`TraceContext`] is valid. Neither of its ids is zero, so that nothing written from
//! one is refused by a strict parser.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::state;

/// The header with the context of a call.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors add to it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The context as binary metadata, which older clients of gRPC send in place of the header.
pub const GRPC_TRACE_BIN: HeaderName = HeaderName::from_static("grpc-trace-bin");

/// The bit of the flags that says that the caller may have recorded the call.
const SAMPLED: u8 = 0b01;
/// The bit that says that the trace id is random (level 2).
const RANDOM: u8 = 0b10;

/// The position of a call in a trace: what `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

impl TraceContext {
    /// A position, unless an id is zero.
    pub(super) fn new(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) -> Option<Self> {
        let flags = if is_sampled { SAMPLED } else { 0 };
        Self::checked(trace_id, span_id, flags)
    }

    fn checked(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) -> Option<Self> {
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            span_id,
            flags: flags & (SAMPLED | RANDOM),
        })
    }

    /// The next position in the same trace, unless its id is zero.
    pub(super) fn child(&self, span_id: [u8; 8], is_sampled: bool) -> Option<Self> {
        let sampled = if is_sampled { SAMPLED } else { 0 };
        Self::checked(self.trace_id, span_id, self.flags & RANDOM | sampled)
    }

    /// Reads the value of a `traceparent` header. Of a version after 00 only what this version
    /// has is read, as the standard asks.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(55)?;
        let [version] = hex(&head[..2])?;
        let is_long_enough = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let are_dashes = [2, 35, 52].iter().all(|&at| head[at] == b'-');
        if !is_long_enough || !are_dashes {
            return None;
        }
        let [flags] = hex(&head[53..])?;
        Self::checked(hex(&head[3..35])?, hex(&head[36..52])?, flags)
    }

    /// Reads the value of `grpc-trace-bin`: version 0, then fields 0, 1 and 2, each with its number
    /// before it (OpenCensus, "BinaryEncoding").
    fn parse_binary(value: &[u8]) -> Option<Self> {
        let value = value.strip_suffix(b"==").unwrap_or(value);
        let value = value.strip_suffix(b"=").unwrap_or(value);
        let bytes = BASE64.decode(value).ok()?;
        let (ids, flags) = match bytes.len() {
            27 => (&bytes[..], 0),
            29 if bytes[27] == 2 => (&bytes[..27], bytes[28]),
            _ => return None,
        };
        if [ids[0], ids[1], ids[18]] != [0, 0, 1] {
            return None;
        }
        Self::checked(
            ids[2..18].try_into().ok()?,
            ids[19..].try_into().ok()?,
            flags,
        )
    }

    /// The context that a call brings along: that of its one `traceparent`, else that of
    /// `grpc-trace-bin`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let parent = one(headers, &TRACEPARENT).and_then(|value| Self::parse(value.as_bytes()));
        parent.or_else(|| {
            let value = one(headers, &GRPC_TRACE_BIN)?;
            Self::parse_binary(value.as_bytes())
        })
    }

    /// Whether the caller may have recorded the call.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The id of the trace, never zero.
    pub fn trace_id(&self) -> &[u8; 16] {
        &self.trace_id
    }

    /// The id of the span, never zero.
    pub fn span_id(&self) -> &[u8; 8] {
        &self.span_id
    }

    /// The flags of the standard.
    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    /// The value of a `traceparent` header.
    pub fn to_header(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("only digits, letters and dashes")
    }

    fn to_binary(self) -> HeaderValue {
        let ids = [
            &[0, 0],
            &self.trace_id[..],
            &[1],
            &self.span_id,
            &[2, self.flags],
        ]
        .concat();
        HeaderValue::try_from(BASE64.encode(ids)).expect("only characters of base64")
    }

    /// Writes this position in place of the one that a call brought along.
    pub(super) fn replace(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.to_header());
        if headers.contains_key(GRPC_TRACE_BIN) {
            headers.insert(GRPC_TRACE_BIN, self.to_binary());
        }
    }
}

/// Takes out of the headers of a call what is not valid of its context; the rest stays as it is.
///
/// A `tracestate` without a valid parent belongs to nothing. `baggage` is another standard, and
/// stays.
pub(super) fn sanitise(headers: &mut HeaderMap) {
    let names = [&TRACEPARENT, &TRACESTATE, &GRPC_TRACE_BIN];
    if !names.iter().any(|name| headers.contains_key(*name)) {
        return;
    }
    let parse = |value: &HeaderValue| TraceContext::parse(value.as_bytes());
    let parent = keep_valid(headers, &TRACEPARENT, parse);
    let parse = |value: &HeaderValue| TraceContext::parse_binary(value.as_bytes());
    let binary = keep_valid(headers, &GRPC_TRACE_BIN, parse);
    if parent || binary {
        state::sanitise(headers);
    } else {
        headers.remove(TRACESTATE);
    }
}

/// Whether a header is there, once and valid; it is removed where it is anything else.
fn keep_valid(
    headers: &mut HeaderMap,
    name: &HeaderName,
    parse: impl Fn(&HeaderValue) -> Option<TraceContext>,
) -> bool {
    let is_valid = one(headers, name).and_then(parse).is_some();
    if !is_valid {
        headers.remove(name);
    }
    is_valid
}

/// The value of a header that stands there once: of two, nobody can say which one counts.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// `version-trace_id-span_id-flags`, in lower case.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, span_id) = (Hex(&self.trace_id), Hex(&self.span_id));
        write!(f, "00-{trace_id}-{span_id}-{:02x}", self.flags)
    }
}

/// Bytes as digits in lower case.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Exactly `N` bytes from digits, in lower case as the standard asks.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let line = |(name, value): &(HeaderName, &str)| (name.clone(), value.parse().unwrap());
        lines.iter().map(line).collect()
    }

    #[test]
    fn reads_this_version_and_later_ones() {
        for text in [
            VALID,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            let context = TraceContext::parse(text.as_bytes()).unwrap();
            assert!(context.is_sampled(), "{text}");
            assert_eq!(context.to_string()[..53], VALID[..53], "{text}");
        }
        let unsampled = VALID.replace("-01", "-00");
        assert!(
            !TraceContext::parse(unsampled.as_bytes())
                .unwrap()
                .is_sampled()
        );
    }

    #[test]
    fn refuses_what_is_not_valid() {
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn binary_metadata_says_the_same() {
        let context = TraceContext::parse(VALID.as_bytes()).unwrap();
        let binary = context.to_binary();
        assert_eq!(TraceContext::parse_binary(binary.as_bytes()), Some(context));
        let headers = headers(&[(GRPC_TRACE_BIN, binary.to_str().unwrap())]);
        assert_eq!(TraceContext::of(&headers), Some(context));
        for wrong in ["", "AAAA", &binary.to_str().unwrap()[4..], "!"] {
            assert_eq!(
                TraceContext::parse_binary(wrong.as_bytes()),
                None,
                "{wrong}"
            );
        }
    }

    #[test]
    fn of_two_parents_none_counts() {
        let other = VALID.replace("4bf9", "0bf9");
        let mut twice = headers(&[(TRACEPARENT, VALID), (TRACEPARENT, &other)]);
        assert_eq!(TraceContext::of(&twice), None);
        sanitise(&mut twice);
        assert!(twice.is_empty());
    }

    #[test]
    fn what_is_valid_stays_as_it_came() {
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        let mut kept = headers(&[(TRACEPARENT, later), (TRACESTATE, "a=1")]);
        let before = kept.clone();
        sanitise(&mut kept);
        assert_eq!(kept, before);
        let mut lost = headers(&[(TRACEPARENT, "00-0-0-00"), (TRACESTATE, "a=1")]);
        sanitise(&mut lost);
        assert!(lost.is_empty(), "{lost:?}");
    }

    proptest! {
        #[test]
        fn what_comes_out_is_valid_or_absent(
            text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,3}|\\PC{0,60}",
        ) {
            if let Some(context) = TraceContext::parse(text.as_bytes()) {
                let written = context.to_header();
                prop_assert_eq!(TraceContext::parse(written.as_bytes()), Some(context));
                prop_assert!(context.trace_id() != &[0; 16] && context.span_id() != &[0; 8]);
                let binary = context.to_binary();
                prop_assert_eq!(TraceContext::parse_binary(binary.as_bytes()), Some(context));
            }
        }

        #[test]
        fn reading_bytes_never_panics(bytes: Vec<u8>) {
            let _ = (TraceContext::parse(&bytes), TraceContext::parse_binary(&bytes));
        }

        #[test]
        fn headers_are_valid_or_gone(
            parent in "\\PC{0,60}", state in "[ -~]{0,80}", binary in "[ -~]{0,44}",
        ) {
            let mut headers = HeaderMap::new();
            let pairs = [(TRACEPARENT, parent), (TRACESTATE, state), (GRPC_TRACE_BIN, binary)];
            for (name, text) in pairs {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    headers.append(name, value);
                }
            }
            sanitise(&mut headers);
            let is_valid = TraceContext::of(&headers).is_some();
            let is_there = !headers.is_empty();
            prop_assert_eq!(is_valid, is_there);
        }
    }
}
