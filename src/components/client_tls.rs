//! The TLS settings of brokers: texts or files that become a client's configuration.

use rustls::ClientConfig;

use super::Error;
use super::metadata::{self, Reader};
use crate::base::secret::Secret;
use crate::tls::client::{Trust, client_config};
use crate::tls::client_identity::ClientIdentity;

/// The largest file of certificates.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a setting may be, for error texts.
pub(super) const ACCEPTED: &str = "a text in PEM form or the path of a file with one";

/// The names of the settings of one kind of component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// The CA certificates that are believed, in place of those of the system.
    pub(super) authority: &'static str,
    /// The certificate that the client shows.
    pub(super) certificate: &'static str,
    /// Its private key.
    pub(super) key: &'static str,
}

/// What the settings say.
pub(super) struct Given {
    /// Which servers are believed.
    pub(super) trust: Trust,
    /// What the client shows.
    pub(super) identity: Option<ClientIdentity>,
}

/// Reads the settings: each a text in PEM form, or the path of a file with one.
///
/// # Errors
///
/// A file that cannot be read, a certificate without its key, and texts that are neither.
pub(super) async fn given(reader: &mut Reader<'_>, names: Names) -> Result<Given, Error> {
    let authority = pem(reader, names.authority).await?;
    let certificate = pem(reader, names.certificate).await?;
    let key = pem(reader, names.key).await?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(
            ClientIdentity::parse(&certificate, &key)
                .map_err(|error| Error::Init(error.to_string()))?,
        ),
        (None, None) => None,
        (Some(_), None) => return Err(goes_with(names.certificate, names.key)),
        (None, Some(_)) => return Err(goes_with(names.key, names.certificate)),
    };
    let roots = authority.map(|pem| pem.expose().to_owned());
    let trust = Trust {
        roots,
        ..Trust::default()
    };
    Ok(Given { trust, identity })
}

/// The same as a client of a broker; `None` where no setting is given.
pub(super) async fn read(
    reader: &mut Reader<'_>,
    names: Names,
) -> Result<Option<ClientConfig>, Error> {
    let Given { trust, identity } = given(reader, names).await?;
    if trust.roots.is_none() && identity.is_none() {
        return Ok(None);
    }
    let config = config(&trust)?;
    Ok(Some(match identity {
        Some(identity) => identity.shown_by(config),
        None => config,
    }))
}

/// A client that believes what the system believes.
pub(super) fn of_system() -> Result<ClientConfig, Error> {
    config(&Trust::default())
}

fn config(trust: &Trust) -> Result<ClientConfig, Error> {
    let mut config = client_config(trust).map_err(|error| Error::Init(error.to_string()))?;
    // No broker speaks HTTP.
    config.alpn_protocols.clear();
    Ok(config)
}

fn goes_with(given: &str, missing: &str) -> Error {
    Error::Init(format!("{given:?} is given without {missing:?}"))
}

async fn pem(reader: &mut Reader<'_>, name: &'static str) -> Result<Option<Secret>, Error> {
    let Some(text) = reader.text(&[name])?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // The value may be anything, so that no message shows it.
    let invalid = || metadata::Error::Invalid {
        name,
        accepted: ACCEPTED,
    };
    Ok(Some(load(text).await.ok_or_else(invalid)?))
}

/// A text in PEM form, or what is in the file at a path.
pub(super) async fn load(text: &str) -> Option<Secret> {
    if text.contains("-----BEGIN") {
        return Some(Secret::new(text));
    }
    let file = tokio::fs::metadata(text).await.ok()?;
    if !file.is_file() || file.len() > MAX_FILE_BYTES {
        return None;
    }
    tokio::fs::read_to_string(text).await.ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;
    use crate::testing::contract;

    const NAMES: Names = Names {
        authority: "caCert",
        certificate: "clientCert",
        key: "clientKey",
    };

    async fn read_from(properties: &[(&str, &str)]) -> Result<bool, String> {
        let component = contract::component("pubsub.x", properties);
        let mut reader = Reader::new(&component).unwrap();
        let read = read(&mut reader, NAMES).await;
        read.map(|config| config.is_some())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn takes_texts_and_files() {
        let authority = Authority::new();
        let (root, own) = (authority.certificate(), authority.issue(&["client"]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, &root).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(read_from(&[]).await, Ok(false));
        assert_eq!(read_from(&[("caCert", &root)]).await, Ok(true));
        assert_eq!(read_from(&[("caCert", file)]).await, Ok(true));
        let pair = [("clientCert", &*own.certificate), ("clientKey", &*own.key)];
        assert_eq!(read_from(&pair).await, Ok(true));
    }

    #[tokio::test]
    async fn refuses_halves_and_what_is_no_certificate_without_showing_it() {
        let own = Authority::new().issue(&["client"]);
        for (properties, expected) in [
            (
                vec![("clientCert", &*own.certificate)],
                "\"clientCert\" is given without \"clientKey\"",
            ),
            (
                vec![("clientKey", &*own.key)],
                "\"clientKey\" is given without \"clientCert\"",
            ),
            (
                vec![("caCert", "hunter2")],
                "the value of \"caCert\" is not a text in PEM form or the path of a file with one",
            ),
        ] {
            assert_eq!(read_from(&properties).await, Err(expected.to_owned()));
        }
    }
}
