//! Mutual TLS between sidecars, from flags and the environment.

use std::path::PathBuf;

use anyhow::Context as _;

use super::config::Problems;
use super::flags::Args;
use super::peers::namespace;
use crate::base::environment::Environment;
use crate::base::spiffe_id::SpiffeId;
use crate::peers::identity::{Mtls, RETRY, Sentry, Token, obtain};
use crate::process::tasks::Tasks;
use crate::tls::spiffe::TrustAnchors;

/// Where Kubernetes puts the token for the certificate authority, and where it put it before there
/// was one of its own (Dapr 1.18).
const PROJECTED: &str = "/var/run/secrets/dapr.io/sentrytoken/token";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The control plane without a word on it (Dapr 1.18).
const DEFAULT_TRUST_DOMAIN: &str = "localhost";
const DEFAULT_NAMESPACE: &str = "default";

/// Gets the certificate of the own app, and starts the task that renews it.
///
/// # Errors
///
/// The authority gave none: without it the sidecar would neither reach others nor be reached.
pub(super) async fn start(
    sentry: Option<Sentry>,
    tasks: &mut Tasks,
) -> anyhow::Result<Option<Mtls>> {
    let Some(sentry) = sentry else {
        return Ok(None);
    };
    let (mtls, renewal) = obtain(sentry).await.context("no mutual TLS")?;
    let stop = tasks.shutdown();
    tasks.spawn("certificate", renewal.run(stop));
    Ok(Some(mtls))
}

impl Args {
    /// The certificate authority, where sidecars are to use mutual TLS.
    pub(super) fn sentry(
        &self,
        environment: &Environment,
        problems: &mut Problems,
    ) -> Option<Sentry> {
        if self.enable_mtls != Some(true) {
            return None;
        }
        let anchors = anchors(environment, problems);
        let id = self.sentry_id(environment, problems);
        let address = self.sentry_authority(problems);
        let token = self.sentry_token(environment, problems);
        let audiences = self.sentry_request_jwt_audiences.as_deref();
        let audiences = audiences.unwrap_or_default().split(',').map(str::trim);
        Some(Sentry {
            address: address?,
            id: id?,
            anchors: anchors?,
            app_id: self.app_id.clone(),
            namespace: namespace(environment.non_empty("NAMESPACE")).to_owned(),
            token,
            audiences: audiences
                .filter(|audience| !audience.is_empty())
                .map(str::to_owned)
                .collect(),
            retry: RETRY,
        })
    }

    fn sentry_id(&self, environment: &Environment, problems: &mut Problems) -> Option<SpiffeId> {
        let given = |flag: &Option<String>, variable, default: &str| {
            let flag = flag.as_deref().filter(|text| !text.is_empty());
            let text = flag.or_else(|| environment.non_empty(variable));
            text.unwrap_or(default).to_owned()
        };
        let trust_domain = given(
            &self.control_plane_trust_domain,
            "DAPR_CONTROLPLANE_TRUST_DOMAIN",
            DEFAULT_TRUST_DOMAIN,
        );
        let plane_namespace = given(
            &self.control_plane_namespace,
            "DAPR_CONTROLPLANE_NAMESPACE",
            DEFAULT_NAMESPACE,
        );
        let id = SpiffeId::new(&trust_domain, &plane_namespace, "dapr-sentry");
        id.map_err(|error| problems.add(format!("invalid control plane: {error}")))
            .ok()
    }

    fn sentry_authority(&self, problems: &mut Problems) -> Option<http::uri::Authority> {
        let text = self.sentry_address.as_deref().unwrap_or_default();
        if text.is_empty() {
            problems.add("parameter sentry-address cannot be empty with enable-mtls");
            return None;
        }
        let parsed = text.parse::<http::uri::Authority>().ok();
        let parsed = parsed.filter(|address| address.port().is_some() && !text.contains('@'));
        if parsed.is_none() {
            problems.add(format!(
                "invalid value for 'sentry-address': {text:?}; accepted is host:port"
            ));
        }
        parsed
    }

    /// In Kubernetes every token counts as one of Kubernetes.
    fn sentry_token(&self, environment: &Environment, problems: &mut Problems) -> Token {
        let is_kubernetes = self.mode == "kubernetes";
        match environment.value("DAPR_SENTRY_TOKEN_FILE") {
            Some("") => {
                problems.add("DAPR_SENTRY_TOKEN_FILE is set and empty: it is the path of a file");
                Token::None
            }
            Some(path) if is_kubernetes => Token::Kubernetes(vec![PathBuf::from(path)]),
            Some(path) => Token::Jwks(PathBuf::from(path)),
            None if is_kubernetes => {
                Token::Kubernetes([PROJECTED, SERVICE_ACCOUNT].map(PathBuf::from).into())
            }
            None => Token::None,
        }
    }
}

fn anchors(environment: &Environment, problems: &mut Problems) -> Option<TrustAnchors> {
    let Some(pem) = environment.non_empty("DAPR_TRUST_ANCHORS") else {
        problems.add("trust anchors are required: DAPR_TRUST_ANCHORS holds them in PEM form");
        return None;
    };
    let parsed = TrustAnchors::parse(pem);
    parsed
        .map_err(|error| problems.add(format!("DAPR_TRUST_ANCHORS: {error}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use crate::testing::certificates::Authority;

    fn parse(flags: &str, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
        let environment = Environment::from_iter(environment.iter().copied());
        Config::parse(flags.split_whitespace(), &environment)
    }

    #[test]
    fn what_is_missing_is_told_at_once() {
        let flags = "--app-id a --enable-mtls --control-plane-trust-domain A";
        let environment = [("DAPR_SENTRY_TOKEN_FILE", "")];
        let text = parse(flags, &environment).unwrap_err().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "trust anchors are required: DAPR_TRUST_ANCHORS holds them in PEM form",
                "invalid control plane: \"A\" is no trust domain: accepted are a-z, 0-9, \".\", \
                 \"-\" and \"_\"",
                "parameter sentry-address cannot be empty with enable-mtls",
                "DAPR_SENTRY_TOKEN_FILE is set and empty: it is the path of a file",
            ]
        );
        for (address, anchors) in [("sentry", "x"), ("a@b:1", "x"), ("http://a:1", "x")] {
            let flags = format!("--app-id a --enable-mtls --sentry-address {address}");
            let text = parse(&flags, &[("DAPR_TRUST_ANCHORS", anchors)]).unwrap_err();
            assert_eq!(text.to_string().lines().count(), 2, "{text}");
        }
    }

    #[test]
    fn the_authority_is_the_one_of_the_control_plane() {
        let anchors = Authority::new().certificate();
        let flags = "--app-id a --enable-mtls --sentry-address s:443 \
                     --sentry-request-jwt-audiences one,two";
        let base = [("DAPR_TRUST_ANCHORS", &*anchors), ("NAMESPACE", "ns")];
        let sentry = |flags: &str, more: &[(&str, &str)]| {
            let environment = [&base[..], more].concat();
            parse(flags, &environment).unwrap().sentry.unwrap()
        };
        let standalone = sentry(flags, &[]);
        assert_eq!(
            standalone.id.to_string(),
            "spiffe://localhost/ns/default/dapr-sentry"
        );
        assert_eq!((&*standalone.app_id, &*standalone.namespace), ("a", "ns"));
        assert_eq!(standalone.audiences, ["one", "two"]);
        assert!(matches!(standalone.token, Token::None));
        let with_file = sentry(flags, &[("DAPR_SENTRY_TOKEN_FILE", "/t")]);
        assert!(matches!(with_file.token, Token::Jwks(path) if path.ends_with("t")));
        let kubernetes = sentry(
            &format!("{flags} --mode kubernetes --control-plane-namespace flag"),
            &[
                ("DAPR_CONTROLPLANE_NAMESPACE", "variable"),
                ("DAPR_CONTROLPLANE_TRUST_DOMAIN", "cluster.local"),
            ],
        );
        let id = kubernetes.id.to_string();
        assert_eq!(id, "spiffe://cluster.local/ns/flag/dapr-sentry");
        assert!(matches!(kubernetes.token, Token::Kubernetes(paths) if paths.len() == 2));
        assert!(
            parse("--app-id a --enable-mtls=false", &[])
                .unwrap()
                .sentry
                .is_none()
        );
    }
}
