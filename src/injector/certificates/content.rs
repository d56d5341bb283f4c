//! What the Secret holds.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::certificate::{Certificate, CertificateError, Pair};

/// The CA that signed the certificate, and that certificate: the names of `kubernetes.io/tls`.
const CA: [&str; 2] = ["ca.crt", "ca.key"];
const LEAF: [&str; 2] = ["tls.crt", "tls.key"];
/// The CA that API servers are told of before it signs.
const NEXT: [&str; 2] = ["next-ca.crt", "next-ca.key"];
/// The CA before, and the last certificate that it signed.
const OLD: [&str; 2] = ["old-ca.crt", "old-tls.crt"];

/// Why a Secret's data is of no use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ContentError {
    /// As the chart makes it.
    #[error("it is empty")]
    Empty,
    /// Something that is no CA.
    #[error("{:?} and {:?}: {_0}", CA[0], CA[1])]
    Authority(CertificateError),
}

/// What the Secret holds, as far as it can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Signs the certificate.
    pub ca: Pair,
    /// The webhook's certificate. None: it has to be made anew.
    pub leaf: Option<Pair>,
    /// The CA that is to follow.
    pub next: Option<Pair>,
    /// The CA that was before, as long as a replica may serve a certificate of it.
    pub old: Option<Old>,
}

/// A CA that signs no more.
#[derive(Clone, Debug, PartialEq)]
pub struct Old {
    /// Itself. Its key is gone.
    pub ca: Certificate,
    /// The last certificate that it signed.
    pub leaf: Certificate,
}

/// A part of the Secret that cannot be used, and is made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key of the Secret.
    pub key: &'static str,
    /// What is wrong.
    pub what: String,
}

type Data = BTreeMap<String, Vec<u8>>;

impl Content {
    /// Reads a Secret's data. The certificate must be for all of `names`.
    pub fn decode(data: &Data, names: &[String]) -> Result<(Self, Vec<Problem>), ContentError> {
        let all = [CA, LEAF, NEXT, OLD].concat();
        if !all.iter().any(|key| data.contains_key(*key)) {
            return Err(ContentError::Empty);
        }
        let mut problems = Vec::new();
        let ca = pair(data, CA).map_err(ContentError::Authority)?;
        let ca = ca.ok_or(ContentError::Authority(CertificateError::Certificate))?;
        let next = usable(NEXT[0], pair(data, NEXT), &mut problems);
        let old = usable(OLD[0], Old::decode(data), &mut problems);
        let leaf = usable(LEAF[0], pair(data, LEAF), &mut problems);
        let leaf = leaf.filter(|leaf| match flaw(&leaf.certificate, &ca, names) {
            None => true,
            Some(what) => {
                problems.push(Problem { key: LEAF[0], what });
                false
            }
        });
        let content = Self {
            ca,
            leaf,
            next,
            old,
        };
        Ok((content, problems))
    }

    /// Writes it over a Secret's data. Keys of others stay.
    pub fn encode(&self, data: &mut Data) {
        for key in [CA, LEAF, NEXT, OLD].concat() {
            data.remove(key);
        }
        let mut put = |key: &str, text: &str| data.insert(key.to_owned(), text.into());
        let pairs = [
            (CA, Some(&self.ca)),
            (LEAF, self.leaf.as_ref()),
            (NEXT, self.next.as_ref()),
        ];
        for ([certificate, key], pair) in pairs {
            if let Some(pair) = pair {
                put(certificate, pair.certificate.pem());
                // The Secret is where it is kept.
                put(key, pair.key.expose());
            }
        }
        if let Some(old) = &self.old {
            put(OLD[0], old.ca.pem());
            put(OLD[1], old.leaf.pem());
        }
    }

    /// The CAs that API servers have to trust, in the order in which they came.
    pub fn roots(&self) -> Vec<&Certificate> {
        let old = self.old.iter().map(|old| &old.ca);
        let next = self.next.iter().map(|next| &next.certificate);
        old.chain([&self.ca.certificate]).chain(next).collect()
    }

    /// The `caBundle` of the webhook: a function of the content alone, so that replicas that read
    /// the same Secret write the same bytes. A switch to the next CA does not change it.
    pub fn bundle(&self) -> String {
        self.roots().iter().map(|root| root.pem()).collect()
    }

    /// Whether the certificate can be served.
    pub fn is_alive(&self, now: SystemTime) -> bool {
        let leaf = self.leaf.as_ref();
        leaf.is_some_and(|leaf| !leaf.certificate.life().ended(now))
    }
}

impl Old {
    fn decode(data: &Data) -> Result<Option<Self>, CertificateError> {
        let [Some(ca), Some(leaf)] = OLD.map(|key| data.get(key)) else {
            return Ok(None);
        };
        let (ca, leaf) = (Certificate::parse(ca)?, Certificate::parse(leaf)?);
        Ok(Some(Self { ca, leaf }))
    }
}

fn pair(data: &Data, keys: [&str; 2]) -> Result<Option<Pair>, CertificateError> {
    match keys.map(|key| data.get(key)) {
        [None, None] => Ok(None),
        [None, Some(_)] => Err(CertificateError::Certificate),
        [Some(_), None] => Err(CertificateError::Key),
        [Some(certificate), Some(key)] => Pair::parse(certificate, key).map(Some),
    }
}

fn usable<T>(
    key: &'static str,
    read: Result<Option<T>, CertificateError>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    read.unwrap_or_else(|error| {
        let what = error.to_string();
        problems.push(Problem { key, what });
        None
    })
}

/// Why a certificate is not the one that is wanted.
fn flaw(leaf: &Certificate, ca: &Pair, names: &[String]) -> Option<String> {
    if !leaf.is_for(names) {
        return Some(format!("the certificate is not for {}", names.join(", ")));
    }
    let first = names.first()?;
    let trusted = leaf.is_trusted(&[&ca.certificate], first, leaf.life().issued);
    (!trusted).then(|| format!("the certificate is not signed by the one in {:?}", CA[0]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::authority::Terms;
    use super::super::lifetimes::Lifetimes;
    use super::super::plan::Step;
    use super::*;

    fn terms(name: &str) -> Terms {
        let [ca, leaf] = [9, 3].map(|hours| Duration::from_secs(hours * 3600));
        Terms {
            lifetimes: Lifetimes::parse(ca, leaf, Duration::ZERO).unwrap(),
            names: vec![name.to_owned()],
        }
    }

    fn data(content: &Content) -> Data {
        let mut data = Data::from([("ours.not".to_owned(), b"x".to_vec())]);
        content.encode(&mut data);
        data
    }

    #[test]
    fn reads_what_it_wrote_and_keeps_the_keys_of_others() {
        let (terms, now) = (terms("a.svc"), SystemTime::now());
        let mut content = terms.found(now).unwrap();
        for step in [Step::AddAuthority, Step::Switch, Step::AddAuthority] {
            content = terms.take(step, &content, now).unwrap();
            let data = data(&content);
            assert_eq!(data["ours.not"], b"x");
            let read = Content::decode(&data, &terms.names).unwrap();
            assert_eq!(read, (content.clone(), Vec::new()));
            assert_eq!(read.0.bundle(), content.bundle());
        }
    }

    #[test]
    fn a_switch_leaves_the_bundle_as_it_is() {
        let (terms, now) = (terms("a.svc"), SystemTime::now());
        let content = terms.found(now).unwrap();
        let before = terms.take(Step::AddAuthority, &content, now).unwrap();
        let after = terms.take(Step::Switch, &before, now).unwrap();
        assert_eq!(before.bundle(), after.bundle());
        assert_ne!(content.bundle(), after.bundle());
    }

    #[test]
    fn says_what_cannot_be_used() {
        let (terms, now) = (terms("a.svc"), SystemTime::now());
        let own = data(&terms.found(now).unwrap());
        let other = data(&terms.found(now).unwrap());
        let with = |key: &str, value: &[u8]| {
            let mut data = own.clone();
            data.insert(key.to_owned(), value.to_vec());
            let decoded = Content::decode(&data, &terms.names);
            decoded.map(|(content, problems)| {
                assert_eq!(
                    content.leaf.is_none(),
                    problems.iter().any(|p| p.key == LEAF[0])
                );
                problems
                    .into_iter()
                    .map(|p| (p.key, p.what))
                    .collect::<Vec<_>>()
            })
        };
        let ca_error = |error| Err(ContentError::Authority(error));
        for (key, value, wanted) in [
            (
                "ca.crt",
                &b"rubbish"[..],
                ca_error(CertificateError::Certificate),
            ),
            ("ca.key", b"", ca_error(CertificateError::Key)),
            ("ca.key", &other["ca.key"], ca_error(CertificateError::Pair)),
            (
                "tls.key",
                &other["tls.key"],
                Ok(("tls.crt", CertificateError::Pair.to_string())),
            ),
            (
                "next-ca.crt",
                b"x",
                Ok(("next-ca.crt", CertificateError::Key.to_string())),
            ),
        ] {
            let wanted = wanted.map(|(key, what)| vec![(key, what)]);
            assert_eq!(with(key, value), wanted, "{key}");
        }
        assert_eq!(Content::decode(&Data::new(), &[]), Err(ContentError::Empty));
        assert_eq!(
            ContentError::Authority(CertificateError::Pair).to_string(),
            "\"ca.crt\" and \"ca.key\": the key does not belong to the certificate"
        );
    }

    #[test]
    fn a_certificate_of_another_authority_or_name_is_not_used() {
        let now = SystemTime::now();
        let (own, other) = (terms("a.svc"), terms("b.svc"));
        let content = own.found(now).unwrap();
        let (read, problems) = Content::decode(&data(&content), &other.names).unwrap();
        assert_eq!(read.leaf, None);
        assert_eq!(problems[0].what, "the certificate is not for b.svc");
        let mut mixed = content.clone();
        mixed.leaf = own.found(now).unwrap().leaf;
        let (read, problems) = Content::decode(&data(&mixed), &own.names).unwrap();
        assert_eq!(read.leaf, None);
        let wanted = "the certificate is not signed by the one in \"ca.crt\"";
        assert_eq!(problems[0].what, wanted);
    }
}
