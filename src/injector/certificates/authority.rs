//! Makes CAs and certificates, and takes the steps of a plan.

use std::fmt::Write as _;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::certificate::{BACKDATED, CertificateError, Pair};
use super::content::{Content, Old};
use super::lifetimes::Lifetimes;
use super::plan::Step;

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The library refused, which hints at a name that no certificate can hold.
    #[error("no certificate can be made")]
    Generate(#[from] rcgen::Error),
    /// It made one that cannot be read.
    #[error("the certificate that was made cannot be used")]
    Unusable(#[from] CertificateError),
}

/// What new certificates are made by.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long they live.
    pub lifetimes: Lifetimes,
    /// The names of the webhook, DNS names or IP addresses. At least one.
    pub names: Vec<String>,
}

impl Terms {
    /// A CA and a certificate where there is nothing to build on.
    pub fn found(&self, now: SystemTime) -> Result<Content, IssueError> {
        let ca = self.authority(now)?;
        Ok(Content {
            leaf: Some(self.leaf(&ca, now)?),
            ca,
            next: None,
            old: None,
        })
    }

    /// The content after a step.
    pub fn take(&self, step: Step, from: &Content, now: SystemTime) -> Result<Content, IssueError> {
        let mut content = from.clone();
        match step {
            Step::Found => return self.found(now),
            Step::RenewLeaf => content.leaf = Some(self.leaf(&content.ca, now)?),
            Step::AddAuthority => content.next = Some(self.authority(now)?),
            Step::DropOld => content.old = None,
            Step::Switch => {
                if let Some(next) = content.next.take() {
                    let leaf = self.leaf(&next, now)?;
                    let ca = std::mem::replace(&mut content.ca, next).certificate;
                    let last = content.leaf.replace(leaf);
                    content.old = last.map(|last| Old {
                        ca,
                        leaf: last.certificate,
                    });
                }
            }
        }
        Ok(content)
    }

    fn authority(&self, now: SystemTime) -> Result<Pair, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = valid(now, now + self.lifetimes.ca());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // A name of its own: verifiers look for an issuer by name, and two are trusted for a while.
        let mut name = "Sidegate injector CA ".to_owned();
        for byte in key.public_key_raw().iter().rev().take(8) {
            let _ = write!(name, "{byte:02x}");
        }
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Pair::parse(
            certificate.as_bytes(),
            key.serialize_pem().as_bytes(),
        )?)
    }

    fn leaf(&self, ca: &Pair, now: SystemTime) -> Result<Pair, IssueError> {
        let ca_key = KeyPair::from_pem(ca.key.expose())?;
        let issuer = Issuer::from_ca_cert_pem(ca.certificate.pem(), ca_key)?;
        let end = (now + self.lifetimes.leaf()).min(ca.certificate.life().end);
        let dates = valid(now, end);
        let mut params = CertificateParams::new(self.names.clone())?;
        (params.not_before, params.not_after) = (dates.not_before, dates.not_after);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name = rcgen::DistinguishedName::new();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Pair::parse(
            certificate.as_bytes(),
            key.serialize_pem().as_bytes(),
        )?)
    }
}

/// Valid from a little before now.
fn valid(now: SystemTime, end: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = end.into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}
