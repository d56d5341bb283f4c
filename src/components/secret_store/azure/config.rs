//! What the metadata of a component says of a vault. Pure.

use std::net::IpAddr;

use azure_core::http::Url;

use super::ways::{self, Way};
use crate::base::environment::Environment;
use crate::components::Error;
use crate::components::metadata::Reader;

/// A part of Azure with servers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Public,
    China,
    UsGovernment,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::Public, Self::China, Self::UsGovernment];

    /// The host that tokens for vaults are for, and the end of the vaults' own.
    const fn vaults(self) -> &'static str {
        match self {
            Self::Public => "vault.azure.net",
            Self::China => "vault.azure.cn",
            Self::UsGovernment => "vault.usgovcloudapi.net",
        }
    }

    const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::UsGovernment => "https://login.microsoftonline.us",
        }
    }

    /// `AzurePublicCloud` and the like in any case, also without `Cloud`.
    fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        match name.strip_suffix("cloud").unwrap_or(&name) {
            "azurepublic" => Some(Self::Public),
            "azurechina" => Some(Self::China),
            "azureusgovernment" => Some(Self::UsGovernment),
            _ => None,
        }
    }
}

/// A server that tokens and secrets travel to: over TLS, or on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server(Url);

impl Server {
    /// A URL of no more than scheme, host and port.
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let host = url.host_str()?;
        let is_local = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
        let is_plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        (is_safe && is_plain).then_some(Self(url))
    }

    /// Its URL as the SDK has to see it, which sends tokens over TLS only. The scheme that counts
    /// is given back by [`Server::real`].
    pub(super) fn for_sdk(&self) -> Url {
        self.with_scheme(self.0.clone(), "https")
    }

    /// The URL to which a request of the SDK goes, where it goes to this server.
    pub(super) fn real(&self, url: &Url) -> Option<Url> {
        let own = self.for_sdk();
        let is_own = url.scheme() == own.scheme()
            && url.host() == own.host()
            && url.port() == own.port()
            && url.username().is_empty();
        is_own.then(|| self.with_scheme(url.clone(), self.0.scheme()))
    }

    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// `https` and `http` can be exchanged in every URL.
    fn with_scheme(&self, mut url: Url, scheme: &str) -> Url {
        let _ = url.set_scheme(scheme);
        url
    }
}

/// Everything about one vault.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) vault: Server,
    /// Whether the vault is no server of Azure's own.
    pub(super) is_emulated: bool,
    /// The host of the resource that tokens are for.
    pub(super) resource: &'static str,
    /// Where tokens come from.
    pub(super) authority: Server,
    /// What takes the place of the metadata service, 169.254.169.254.
    pub(super) pod_identity: Option<Url>,
    /// In the order in which they are tried; at least one.
    pub(super) ways: Vec<Way>,
}

impl Config {
    /// Reads the metadata; names and their aliases are Dapr's, but for `endpoint`.
    pub(super) fn read(reader: &mut Reader<'_>, environment: &Environment) -> Result<Self, Error> {
        let endpoint = text(reader, &["endpoint"])?;
        let name = match endpoint {
            Some(_) => text(reader, &["vaultName"])?.unwrap_or_default(),
            None => reader.required(&["vaultName"], "missing \"vaultName\" in metadata")?,
        };
        let named = text(reader, &["azureEnvironment", "azureCloud"])?;
        let chosen = match named {
            None => None,
            Some(named) => Some(Cloud::parse(named).ok_or_else(|| {
                invalid(
                    "azureEnvironment",
                    "AzurePublicCloud, AzureChinaCloud or AzureUSGovernmentCloud",
                )
            })?),
        };
        let (vault, cloud) = match endpoint {
            Some(endpoint) => {
                let accepted = "a URL of scheme, host and port; http:// on loopback only";
                let vault = Server::parse(endpoint).ok_or_else(|| invalid("endpoint", accepted))?;
                (vault, chosen.unwrap_or(Cloud::Public))
            }
            None => vault_of_name(name.trim(), chosen)?,
        };
        let authority = match environment.non_empty("AZURE_AUTHORITY_HOST") {
            Some(host) if chosen.is_none() => Server::parse(host).ok_or_else(|| {
                init("the value of AZURE_AUTHORITY_HOST is not an https:// URL of a host")
            })?,
            _ => Server::parse(cloud.authority()).expect("the URLs of Azure are URLs"),
        };
        let pod_identity = match environment.non_empty("AZURE_POD_IDENTITY_AUTHORITY_HOST") {
            None => None,
            Some(host) => Some(Url::parse(host).ok().filter(Url::has_host).ok_or_else(|| {
                init("the value of AZURE_POD_IDENTITY_AUTHORITY_HOST is not a URL of a host")
            })?),
        };
        Ok(Self {
            ways: ways::read(reader, environment, endpoint.is_some() && is_local(&vault))?,
            vault,
            is_emulated: endpoint.is_some(),
            resource: cloud.vaults(),
            authority,
            pod_identity,
        })
    }
}

fn is_local(server: &Server) -> bool {
    server.0.scheme() == "http"
}

/// The server of `NAME`, `NAME.vault.azure.net` or `https://NAME.vault.azure.net/`.
fn vault_of_name(name: &str, chosen: Option<Cloud>) -> Result<(Server, Cloud), Error> {
    let accepted = "the name of a vault, or its host, such as \"shop.vault.azure.net\" (for \
                    another server, use \"endpoint\")";
    let wrong = || invalid("vaultName", accepted);
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("https://").unwrap_or(&name);
    let name = name.strip_suffix('/').unwrap_or(name);
    let (short, cloud) = match name.split_once('.') {
        None => (name, chosen.unwrap_or(Cloud::Public)),
        Some((short, suffix)) => {
            let of_suffix = Cloud::ALL
                .into_iter()
                .find(|cloud| cloud.vaults() == suffix);
            let cloud = of_suffix.ok_or_else(wrong)?;
            if chosen.is_some_and(|chosen| chosen != cloud) {
                return Err(init(
                    "\"vaultName\" and \"azureEnvironment\" are of different clouds; leave out \
                     \"azureEnvironment\"",
                ));
            }
            (short, cloud)
        }
    };
    if !is_name(short) {
        return Err(wrong());
    }
    let server = Server::parse(&format!("https://{short}.{}", cloud.vaults()));
    Ok((server.ok_or_else(wrong)?, cloud))
}

/// What both vaults and secrets may be called.
pub(super) fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=127).contains(&name.len()) && name.bytes().all(is_letter)
}

/// A setting that is there and not empty.
pub(super) fn text<'a>(
    reader: &mut Reader<'a>,
    names: &[&'static str],
) -> Result<Option<&'a str>, Error> {
    let text = reader.text(names)?.map(str::trim);
    Ok(text.filter(|text| !text.is_empty()))
}

pub(super) fn invalid(name: &'static str, accepted: &'static str) -> Error {
    Error::Metadata(crate::components::metadata::Error::Invalid { name, accepted })
}

pub(super) fn init(text: &str) -> Error {
    Error::Init(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;

    fn read(properties: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Config, String> {
        let component = component("secretstores.azure.keyvault", properties);
        let mut reader = Reader::new(&component).unwrap();
        let environment = environment.iter().copied().collect();
        Config::read(&mut reader, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn finds_the_vault_and_its_cloud() {
        let public = "https://login.microsoftonline.com/";
        let china = "https://login.chinacloudapi.cn/";
        let government = "https://login.microsoftonline.us/";
        for (name, cloud, vault, authority) in [
            ("shop", "", "https://shop.vault.azure.net/", public),
            (
                "Shop-1",
                "AZUREPUBLICCLOUD",
                "https://shop-1.vault.azure.net/",
                public,
            ),
            (
                "shop",
                "AzurePublic",
                "https://shop.vault.azure.net/",
                public,
            ),
            (
                "shop",
                "azurechinacloud",
                "https://shop.vault.azure.cn/",
                china,
            ),
            (
                "shop",
                "AzureUSGovernment",
                "https://shop.vault.usgovcloudapi.net/",
                government,
            ),
            (
                "https://shop.vault.azure.net/",
                "",
                "https://shop.vault.azure.net/",
                public,
            ),
            (
                "shop.vault.azure.cn",
                "",
                "https://shop.vault.azure.cn/",
                china,
            ),
            (
                "https://SHOP.vault.usgovcloudapi.net",
                "AzureUSGovernmentCloud",
                "https://shop.vault.usgovcloudapi.net/",
                government,
            ),
        ] {
            let config = read(&[("vaultName", name), ("azureCloud", cloud)], &[]).unwrap();
            assert_eq!(config.vault.0.as_str(), vault);
            assert_eq!(config.authority.0.as_str(), authority);
            assert!(vault.ends_with(&format!(".{}/", config.resource)));
            assert!(!config.is_emulated);
        }
    }

    #[test]
    fn takes_servers_of_the_environment_and_an_endpoint() {
        let host = ("AZURE_AUTHORITY_HOST", "https://login.example/");
        let pods = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.1:80");
        let config = read(&[("vaultName", "shop")], &[host, pods]).unwrap();
        assert_eq!(config.authority.0.as_str(), "https://login.example/");
        assert_eq!(config.pod_identity.unwrap().as_str(), "http://10.0.0.1/");
        let own = [
            ("vaultName", "shop"),
            ("azureEnvironment", "AzureChinaCloud"),
        ];
        let config = read(&own, &[host]).unwrap();
        assert_eq!(config.authority.host(), "login.chinacloudapi.cn");
        for endpoint in [
            "https://vault.example:8443",
            "http://127.0.0.1:80/",
            "http://[::1]:8080",
            "http://localhost",
        ] {
            let config = read(&[("endpoint", endpoint)], &[]).unwrap();
            assert!(config.is_emulated);
            let seen = config.vault.for_sdk();
            assert_eq!(seen.scheme(), "https");
            assert_eq!(
                config.vault.real(&seen),
                Some(config.vault.0.clone()),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn a_road_leads_to_its_server_only() {
        let server = Server::parse("http://127.0.0.1:8200").unwrap();
        let real = |url: &str| server.real(&Url::parse(url).unwrap()).map(String::from);
        let own = real("https://127.0.0.1:8200/a?b=c");
        assert_eq!(own.as_deref(), Some("http://127.0.0.1:8200/a?b=c"));
        for other in [
            "http://127.0.0.1:8200/a",
            "https://127.0.0.1/a",
            "https://127.0.0.1:8201/a",
            "https://localhost:8200/a",
            "https://127.0.0.1.example:8200/a",
            "https://a@127.0.0.1:8200/a",
        ] {
            assert_eq!(real(other), None, "{other}");
        }
    }

    #[test]
    fn says_what_is_accepted() {
        let vault = ("vaultName", "shop");
        let name = "the value of \"vaultName\" is not the name of a vault, or its host, such as \
                    \"shop.vault.azure.net\" (for another server, use \"endpoint\")";
        let endpoint = "the value of \"endpoint\" is not a URL of scheme, host and port; http:// \
                        on loopback only";
        let clouds = "the value of \"azureEnvironment\" is not AzurePublicCloud, AzureChinaCloud \
                      or AzureUSGovernmentCloud";
        let missing = "missing \"vaultName\" in metadata";
        for (properties, error) in [
            (&[][..], missing),
            (&[("vaultName", "")], missing),
            (
                &[("vaultname2", "shop")],
                "missing \"vaultName\" in metadata; did you mean \"vaultName\" where you wrote \
                 \"vaultname2\"?",
            ),
            (&[("vaultName", " ")], name),
            (&[("vaultName", "shop.vault.azure.net.evil.example")], name),
            (&[("vaultName", "shop.example")], name),
            (&[("vaultName", ".vault.azure.net")], name),
            (&[("vaultName", "a/b")], name),
            (&[("vaultName", "a@b")], name),
            (&[("vaultName", "http://shop.vault.azure.net")], name),
            (&[vault, ("azureEnvironment", "mars")], clouds),
            (
                &[
                    ("vaultName", "shop.vault.azure.cn"),
                    ("azureCloud", "AzurePublicCloud"),
                ],
                "\"vaultName\" and \"azureEnvironment\" are of different clouds; leave out \
                 \"azureEnvironment\"",
            ),
            (&[("endpoint", "http://10.0.0.1:8200")], endpoint),
            (&[("endpoint", "http://127.0.0.1.example")], endpoint),
            (&[("endpoint", "https://u:hunter2@vault.example")], endpoint),
            (&[("endpoint", "https://vault.example/secrets")], endpoint),
            (&[("endpoint", "https://vault.example/?a=b")], endpoint),
            (&[("endpoint", "vault.example")], endpoint),
            (&[("endpoint", "file:///etc")], endpoint),
        ] {
            assert_eq!(read(properties, &[]).err().as_deref(), Some(error));
        }
        let wrong = read(
            &[vault],
            &[("AZURE_AUTHORITY_HOST", "http://login.example")],
        );
        assert_eq!(
            wrong.err().as_deref(),
            Some("the value of AZURE_AUTHORITY_HOST is not an https:// URL of a host")
        );
        let wrong = read(&[vault], &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "nmi")]);
        assert_eq!(
            wrong.err().as_deref(),
            Some("the value of AZURE_POD_IDENTITY_AUTHORITY_HOST is not a URL of a host")
        );
    }
}
