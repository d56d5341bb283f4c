//! What the metadata of a component says of the credentials for a vault. Pure, but for the
//! environment that it is handed.

use std::path::PathBuf;

use super::config::{init, invalid, text};
use crate::base::environment::Environment;
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::metadata::Reader;

const METHODS: &str = "azureAuthMethods";
const ACCEPTED_METHODS: &str = "a list, with commas, of clientcredentials (creds), \
     clientcertificate (cert), workloadidentity (wi), managedidentity (mi), commandlineinterface \
     (cli), none";

/// An application of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Application {
    pub(super) tenant: String,
    pub(super) id: String,
}

/// Where a certificate is.
#[derive(Clone, Debug)]
pub(super) enum CertificateSource {
    Text(Secret),
    /// Read for each token, so that it can be replaced.
    File(PathBuf),
}

/// A way to a token.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Secret(Application, Secret),
    Certificate {
        application: Application,
        source: CertificateSource,
        password: Secret,
    },
    /// The token of a Kubernetes service account, whose file the kubelet writes anew.
    Workload(Application, PathBuf),
    /// The identity of the machine, or the one with this client id.
    ManagedIdentity(Option<String>),
    /// Whoever `az` is logged in as, in this tenant.
    CommandLine(Option<String>),
    /// Nothing: emulators take any token.
    None,
}

/// The ways that are configured and wanted, in order.
pub(super) fn read(
    reader: &mut Reader<'_>,
    environment: &Environment,
    is_local: bool,
) -> Result<Vec<Way>, Error> {
    let given = Given::read(reader, environment)?;
    let aliases = [
        METHODS,
        "azureADAuthMethods",
        "entraIDAuthMethods",
        "microsoftEntraIDAuthMethods",
    ];
    let wanted = text(reader, &aliases)?;
    let methods = match wanted {
        None => Method::DEFAULT.to_vec(),
        Some(list) => list
            .split(',')
            .map(Method::parse)
            .collect::<Result<_, _>>()?,
    };
    let mut ways = Vec::new();
    for method in methods {
        if method == Method::None && !is_local {
            return Err(init(
                "\"azureAuthMethods\" may be \"none\" only with an \"endpoint\" on loopback, \
                 http://127.0.0.1:PORT: a vault wants to know who asks",
            ));
        }
        ways.extend(given.way(method)?);
    }
    if ways.is_empty() {
        return Err(init(
            "none of the \"azureAuthMethods\" is configured: clientcredentials needs \
             \"azureTenantId\", \"azureClientId\" and \"azureClientSecret\"; clientcertificate the \
             first two and \"azureCertificate\" or \"azureCertificateFile\"; workloadidentity \
             AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID, which the webhook \
             of workload identity sets",
        ));
    }
    Ok(ways)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Secret,
    Certificate,
    Workload,
    ManagedIdentity,
    CommandLine,
    None,
}

impl Method {
    /// As in Dapr 1.18.
    const DEFAULT: [Self; 5] = [
        Self::Secret,
        Self::Certificate,
        Self::Workload,
        Self::ManagedIdentity,
        Self::CommandLine,
    ];

    fn parse(name: &str) -> Result<Self, Error> {
        match name.trim().to_ascii_lowercase().as_str() {
            "clientcredentials" | "creds" => Ok(Self::Secret),
            "clientcertificate" | "cert" => Ok(Self::Certificate),
            "workloadidentity" | "wi" => Ok(Self::Workload),
            "managedidentity" | "mi" => Ok(Self::ManagedIdentity),
            "commandlineinterface" | "cli" => Ok(Self::CommandLine),
            "none" => Ok(Self::None),
            "spiffeworkloadidentity" | "spiffe" => Err(Error::Init(format!(
                "\"azureAuthMethods\" names SPIFFE, and this sidecar has no SPIFFE identity; \
                 accepted is {ACCEPTED_METHODS}"
            ))),
            _ => Err(invalid(METHODS, ACCEPTED_METHODS)),
        }
    }
}

/// What is given for credentials, by the component and by the environment.
struct Given {
    /// Those of the component.
    tenant: Option<String>,
    client: Option<String>,
    /// The same, else those of the environment.
    application: Option<Application>,
    secret: Option<Secret>,
    certificate: Option<CertificateSource>,
    password: Secret,
    token_file: Option<PathBuf>,
}

impl Given {
    fn read(reader: &mut Reader<'_>, environment: &Environment) -> Result<Self, Error> {
        let client = text(reader, &["azureClientId", "spnClientId", "clientId"])?;
        let tenant = text(reader, &["azureTenantId", "spnTenantId", "tenantId"])?;
        let aliases = ["azureClientSecret", "spnClientSecret", "clientSecret"];
        let secret = text(reader, &aliases)?.map(Secret::new);
        let inline = text(reader, &["azureCertificate", "spnCertificate"])?;
        let file = text(reader, &["azureCertificateFile", "spnCertificateFile"])?;
        let aliases = ["azureCertificatePassword", "spnCertificatePassword"];
        let password = reader.text(&aliases)?.unwrap_or_default();
        let certificate = match (inline, file) {
            (Some(_), Some(_)) => {
                return Err(init(
                    "give \"azureCertificate\" or \"azureCertificateFile\", not both",
                ));
            }
            (Some(text), None) => Some(CertificateSource::Text(Secret::new(text))),
            (None, Some(path)) => Some(CertificateSource::File(PathBuf::from(path))),
            (None, None) => None,
        };
        let is_id = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        };
        if !tenant.is_none_or(is_id) {
            return Err(invalid("azureTenantId", "the id or a domain of a tenant"));
        }
        if !client.is_none_or(is_id) {
            return Err(invalid(
                "azureClientId",
                "the client id of an application or identity",
            ));
        }
        let tenant_or_env = tenant.or_else(|| environment.non_empty("AZURE_TENANT_ID"));
        let client_or_env = client.or_else(|| environment.non_empty("AZURE_CLIENT_ID"));
        let application = tenant_or_env.zip(client_or_env);
        if let Some((tenant, client)) = application
            && !(is_id(tenant) && is_id(client))
        {
            return Err(init("AZURE_TENANT_ID or AZURE_CLIENT_ID is no id"));
        }
        let token_file = environment.non_empty("AZURE_FEDERATED_TOKEN_FILE");
        Ok(Self {
            tenant: tenant.map(str::to_owned),
            client: client.map(str::to_owned),
            application: application.map(|(tenant, id)| Application {
                tenant: tenant.to_owned(),
                id: id.to_owned(),
            }),
            secret,
            certificate,
            password: Secret::new(password),
            token_file: token_file.map(PathBuf::from),
        })
    }

    /// The way of a method, where what it needs is given.
    fn way(&self, method: Method) -> Result<Option<Way>, Error> {
        let application = |field: &str| {
            self.application.clone().ok_or_else(|| {
                Error::Init(format!(
                    "\"{field}\" needs \"azureTenantId\" and \"azureClientId\" beside it"
                ))
            })
        };
        Ok(match method {
            Method::Secret => match &self.secret {
                None => None,
                Some(secret) => {
                    let application = application("azureClientSecret")?;
                    Some(Way::Secret(application, secret.clone()))
                }
            },
            Method::Certificate => match &self.certificate {
                None => None,
                Some(source) => Some(Way::Certificate {
                    application: application("azureCertificate")?,
                    source: source.clone(),
                    password: self.password.clone(),
                }),
            },
            Method::Workload => {
                let given = self.application.clone().zip(self.token_file.clone());
                given.map(|(application, file)| Way::Workload(application, file))
            }
            Method::ManagedIdentity => Some(Way::ManagedIdentity(self.client.clone())),
            Method::CommandLine => Some(Way::CommandLine(self.tenant.clone())),
            Method::None => Some(Way::None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;

    /// The ways in short.
    fn ways(properties: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<String, String> {
        let component = component("secretstores.azure.keyvault", properties);
        let mut reader = Reader::new(&component).unwrap();
        let environment = environment.iter().copied().collect();
        let ways = read(&mut reader, &environment, false).map_err(|error| error.to_string())?;
        let shown = ways.iter().map(|way| match way {
            Way::Secret(application, _) => {
                format!("secret {}/{}", application.tenant, application.id)
            }
            Way::Certificate {
                source: CertificateSource::Text(_),
                ..
            } => "text".to_owned(),
            Way::Certificate {
                source: CertificateSource::File(_),
                ..
            } => "file".to_owned(),
            Way::Workload(application, _) => format!("workload {}", application.id),
            Way::ManagedIdentity(id) => format!("machine {}", id.as_deref().unwrap_or("own")),
            Way::CommandLine(tenant) => format!("az {}", tenant.as_deref().unwrap_or("own")),
            Way::None => "none".to_owned(),
        });
        Ok(shown.collect::<Vec<_>>().join(", "))
    }

    const IDS: [(&str, &str); 2] = [("azureTenantId", "t"), ("azureClientId", "c")];
    const POD: [(&str, &str); 3] = [
        ("AZURE_TENANT_ID", "pt"),
        ("AZURE_CLIENT_ID", "pc"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
    ];

    #[test]
    fn takes_what_is_given_in_daprs_order() {
        let with = |more: &[(&'static str, &'static str)]| [&IDS, more].concat();
        let method = |list| ("azureAuthMethods", list);
        let secret = ("azureClientSecret", "s");
        for (properties, environment, expected) in [
            (Vec::new(), &[][..], "machine own, az own"),
            (with(&[]), &[], "machine c, az t"),
            (with(&[secret]), &[], "secret t/c, machine c, az t"),
            (
                vec![
                    ("spnTenantId", "t"),
                    ("clientId", "c"),
                    ("clientSecret", "s"),
                ],
                &[],
                "secret t/c, machine c, az t",
            ),
            (
                with(&[secret, ("spnCertificate", "x")]),
                &[],
                "secret t/c, text, machine c, az t",
            ),
            (
                with(&[("azureCertificateFile", "/c")]),
                &[],
                "file, machine c, az t",
            ),
            (Vec::new(), &POD, "workload pc, machine own, az own"),
            (with(&[]), &POD, "workload c, machine c, az t"),
            (
                vec![secret],
                &POD,
                "secret pt/pc, workload pc, machine own, az own",
            ),
            (with(&[secret, method("mi")]), &POD, "machine c"),
            (
                with(&[secret, method("CLI, creds")]),
                &POD,
                "az t, secret t/c",
            ),
            (vec![method("WorkloadIdentity,cert")], &POD, "workload pc"),
            (
                vec![("azureADAuthMethods", "managedidentity")],
                &POD,
                "machine own",
            ),
        ] {
            assert_eq!(ways(&properties, environment).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn says_what_is_accepted() {
        let needs = "\"azureClientSecret\" needs \"azureTenantId\" and \"azureClientId\" beside it";
        let secret = ("azureClientSecret", "hunter2");
        let both = "give \"azureCertificate\" or \"azureCertificateFile\", not both";
        for (properties, error) in [
            (&[secret][..], needs),
            (&[secret, ("azureTenantId", "t")], needs),
            (
                &[("azureCertificate", "x"), ("spnCertificateFile", "x")],
                both,
            ),
            (
                &[("azureTenantId", "../x")],
                "the value of \"azureTenantId\" is not the id or a domain of a tenant",
            ),
            (
                &[("azureClientId", "a b")],
                "the value of \"azureClientId\" is not the client id of an application or identity",
            ),
            (
                &[("azureAuthMethods", "password")],
                "the value of \"azureAuthMethods\" is not a list, with commas, of \
                 clientcredentials (creds), clientcertificate (cert), workloadidentity (wi), \
                 managedidentity (mi), commandlineinterface (cli), none",
            ),
            (
                &[("azureAuthMethods", "mi,spiffe")],
                "\"azureAuthMethods\" names SPIFFE, and this sidecar has no SPIFFE identity; \
                 accepted is a list, with commas, of clientcredentials (creds), clientcertificate \
                 (cert), workloadidentity (wi), managedidentity (mi), commandlineinterface (cli), \
                 none",
            ),
            (
                &[("azureAuthMethods", "none")],
                "\"azureAuthMethods\" may be \"none\" only with an \"endpoint\" on loopback, \
                 http://127.0.0.1:PORT: a vault wants to know who asks",
            ),
        ] {
            assert_eq!(ways(properties, &[]).err().as_deref(), Some(error));
        }
        let none = ways(&[("azureAuthMethods", "creds,cert,wi")], &[]).unwrap_err();
        assert!(
            none.starts_with("none of the \"azureAuthMethods\" is configured"),
            "{none}"
        );
        let wrong = ways(&[], &[("AZURE_TENANT_ID", "a/b"), ("AZURE_CLIENT_ID", "c")]);
        assert_eq!(
            wrong.err().as_deref(),
            Some("AZURE_TENANT_ID or AZURE_CLIENT_ID is no id")
        );
    }
}
