//! TLS to a server, in the modes of PostgreSQL's own programs.

use rustls::ClientConfig;
use tokio_postgres::config::{SslMode, SslNegotiation};

use super::parameters::Parameters;
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::client_tls;
use crate::tls::client::{Trust, client_config};
use crate::tls::client_identity::ClientIdentity;

/// What `sslmode` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Where the server has it. Nobody is kept out.
    Prefer,
    /// Always; the server may be anyone, unless there are CA certificates.
    Require,
    /// A server with a certificate of a CA.
    VerifyCa,
    /// The same, for the name that was asked for.
    VerifyFull,
}

const MODES: &[(&str, Mode)] = &[
    ("disable", Mode::Disable),
    // Without TLS first and then with it: here the other way round, which keeps out no less.
    ("allow", Mode::Prefer),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

const NEGOTIATIONS: &[(&str, SslNegotiation)] = &[
    ("postgres", SslNegotiation::Postgres),
    ("direct", SslNegotiation::Direct),
];

/// How TLS is spoken to a server.
pub(super) struct Tls {
    pub(super) mode: SslMode,
    pub(super) negotiation: SslNegotiation,
    pub(super) config: ClientConfig,
    /// Whether the server is checked at all.
    pub(super) is_verified: bool,
}

impl Tls {
    /// Takes its parameters from a connection string. Without `sslmode` it is `prefer`.
    pub(super) async fn take(parameters: &mut Parameters) -> Result<Self, Error> {
        let mode = parameters.word("sslmode", MODES)?.unwrap_or(Mode::Prefer);
        let negotiation = parameters.word("sslnegotiation", NEGOTIATIONS)?;
        let negotiation = negotiation.unwrap_or(SslNegotiation::Postgres);
        let roots = parameters.take("sslrootcert");
        let of_system = roots
            .as_ref()
            .is_some_and(|roots| roots.expose() == "system");
        let roots = match roots.filter(|_| !of_system) {
            Some(roots) => Some(pem("sslrootcert", &roots).await?),
            None => None,
        };
        let (is_verified, any_name) = match mode {
            Mode::Disable | Mode::Prefer => (false, false),
            Mode::Require => (roots.is_some() || of_system, true),
            Mode::VerifyCa => (true, true),
            Mode::VerifyFull => (true, false),
        };
        let trust = Trust {
            roots: roots.map(|roots| roots.expose().to_owned()),
            skip_verification: !is_verified,
            any_name,
            ..Trust::default()
        };
        let mut config = client_config(&trust).map_err(init)?;
        config.alpn_protocols = match negotiation {
            // Without it no server takes TLS from the first byte on.
            SslNegotiation::Direct => vec![b"postgresql".to_vec()],
            _ => Vec::new(),
        };
        if let Some(identity) = identity(parameters).await? {
            config = identity.shown_by(config);
        }
        Ok(Self {
            mode: match mode {
                Mode::Disable => SslMode::Disable,
                Mode::Prefer => SslMode::Prefer,
                _ => SslMode::Require,
            },
            negotiation,
            config,
            is_verified,
        })
    }
}

async fn identity(parameters: &mut Parameters) -> Result<Option<ClientIdentity>, Error> {
    let certificate = parameters.take("sslcert");
    let key = parameters.take("sslkey");
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let certificate = pem("sslcert", &certificate).await?;
            let key = pem("sslkey", &key).await?;
            ClientIdentity::parse(&certificate, &key)
                .map(Some)
                .map_err(init)
        }
        _ => Err(Error::Init(
            "of \"sslcert\" and \"sslkey\" one is given without the other".to_owned(),
        )),
    }
}

async fn pem(name: &str, text: &Secret) -> Result<Secret, Error> {
    let found = client_tls::load(text.expose()).await;
    found.ok_or_else(|| {
        Error::Init(format!(
            "{name:?} of the connection string is not {}",
            client_tls::ACCEPTED
        ))
    })
}

fn init(error: impl std::fmt::Display) -> Error {
    Error::Init(error.to_string())
}
