//! Of the clients whose certificate a CA signed, those that have one of some names.

use rustls::pki_types::CertificateDer;
use tracing::warn;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Whether a certificate is for one of the names.
pub(super) fn is_for_one_of(names: &[String], certificate: &CertificateDer<'_>) -> bool {
    let found = names_of(certificate);
    let is_accepted = found.iter().any(|name| names.contains(name));
    if !is_accepted {
        warn!(?found, accepted = ?names, "Refused a client whose certificate has other names");
    }
    is_accepted
}

/// The common names and DNS names of a certificate.
fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<String> = common
        .filter_map(|name| Some(name.as_str().ok()?.to_owned()))
        .collect();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(
            alternative
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                }),
        );
    }
    names
}
