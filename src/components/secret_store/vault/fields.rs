//! The fields of a component of this type.

use std::path::PathBuf;

use http::HeaderValue;

use super::credentials::{Credentials, Kept, Login, Method, TokenFile};
use super::paths::{Place, Version, escaped};
use super::server::Address;
use super::trust::{Roots, TrustFiles};
use super::wire::ValueType;
use crate::base::secret::Secret;
use crate::base::truthy::is_truthy;
use crate::components::metadata::{Error, Reader};

/// Where Kubernetes puts the token of the pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What the fields say.
pub(super) struct Fields {
    pub(super) address: Address,
    pub(super) namespace: Option<HeaderValue>,
    pub(super) trust: TrustFiles,
    pub(super) credentials: Credentials,
    pub(super) place: Place,
    /// Where it is given; otherwise the server is asked.
    pub(super) version: Option<Version>,
    pub(super) value_type: ValueType,
}

impl Fields {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let given = text(reader, "vaultAddr")?.unwrap_or("https://127.0.0.1:8200");
        let address = Address::parse(given.trim());
        let address = address.ok_or(Error::Invalid {
            name: "vaultAddr",
            accepted: "a URL such as \"https://vault.example:8200\"",
        })?;
        let namespace = text(reader, "vaultNamespace")?
            .map(|namespace| {
                HeaderValue::from_str(namespace).map_err(|_| Error::Invalid {
                    name: "vaultNamespace",
                    accepted: "the path of a namespace",
                })
            })
            .transpose()?;
        Ok(Self {
            address,
            namespace,
            trust: trust(reader)?,
            credentials: credentials(reader)?,
            place: place(reader)?,
            version: one_of(
                reader,
                "engineVersion",
                &[("1", Version::One), ("2", Version::Two)],
                "\"1\" or \"2\"",
            )?,
            value_type: one_of(
                reader,
                "vaultValueType",
                &[("map", ValueType::Map), ("text", ValueType::Text)],
                "\"map\" or \"text\"",
            )?
            .unwrap_or(ValueType::Map),
        })
    }
}

/// A text that is not empty.
fn text<'a>(reader: &mut Reader<'a>, name: &'static str) -> Result<Option<&'a str>, Error> {
    Ok(reader.text(&[name])?.filter(|text| !text.is_empty()))
}

fn one_of<T: Copy>(
    reader: &mut Reader<'_>,
    name: &'static str,
    values: &[(&str, T)],
    accepted: &'static str,
) -> Result<Option<T>, Error> {
    let Some(given) = text(reader, name)? else {
        return Ok(None);
    };
    let value = values.iter().find(|(value, _)| *value == given);
    value
        .map(|(_, value)| Some(*value))
        .ok_or(Error::Invalid { name, accepted })
}

fn place(reader: &mut Reader<'_>) -> Result<Place, Error> {
    let engine = path(reader, "enginePath", "secret")?;
    let prefix = path(reader, "vaultKVPrefix", "dapr")?;
    let has_prefix = text(reader, "vaultKVUsePrefix")?.is_none_or(is_truthy);
    Ok(Place {
        engine,
        prefix: if has_prefix {
            format!("{prefix}/")
        } else {
            String::new()
        },
    })
}

/// A path of the server, escaped. Slashes around it do not count.
fn path(
    reader: &mut Reader<'_>,
    name: &'static str,
    default: &'static str,
) -> Result<String, Error> {
    let given = text(reader, name)?.unwrap_or(default);
    escaped(given.trim_matches('/')).ok_or(Error::Invalid {
        name,
        accepted: "a path without empty segments, \".\" and \"..\"",
    })
}

fn trust(reader: &mut Reader<'_>) -> Result<TrustFiles, Error> {
    let pem = text(reader, "caPem")?.map(|pem| Roots::Pem(pem.to_owned()));
    let path = text(reader, "caPath")?.map(|path| Roots::Path(PathBuf::from(path)));
    let file = text(reader, "caCert")?.map(|path| Roots::Path(PathBuf::from(path)));
    Ok(TrustFiles {
        roots: pem.or(path).or(file).unwrap_or(Roots::System),
        server_name: text(reader, "tlsServerName")?.map(str::to_owned),
        skip_verification: reader.truthy(&["skipVerify"])?,
    })
}

fn credentials(reader: &mut Reader<'_>) -> Result<Credentials, Error> {
    let token = text(reader, "vaultToken")?;
    let file = text(reader, "vaultTokenMountPath")?;
    let login = login(reader)?;
    match (token, file, login) {
        (None, None, Some(login)) => Ok(Credentials::Login(login)),
        (_, _, Some(_)) => Err(Error::Missing(
            "\"authMethod\" and a token are both set; set one of them",
        )),
        // Both in the words of Dapr 1.18.
        (Some(_), Some(_), None) => Err(Error::Missing("token mount path and token both set")),
        (None, None, None) => Err(Error::Missing("token mount path and token not set")),
        (Some(token), None, None) => Ok(Credentials::Token(Secret::new(token.trim()))),
        (None, Some(path), None) => Ok(Credentials::File(TokenFile::new(PathBuf::from(path)))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AuthMethod {
    AppRole,
    Kubernetes,
    Jwt,
}

fn login(reader: &mut Reader<'_>) -> Result<Option<Login>, Error> {
    let methods = [
        ("approle", AuthMethod::AppRole),
        ("kubernetes", AuthMethod::Kubernetes),
        ("jwt", AuthMethod::Jwt),
    ];
    let accepted = "\"approle\", \"kubernetes\" or \"jwt\"";
    let method = one_of(reader, "authMethod", &methods, accepted)?;
    let default = methods.iter().find(|(_, named)| Some(*named) == method);
    let path = path(
        reader,
        "authPath",
        default.map_or("approle", |(name, _)| name),
    )?;
    let role_id = text(reader, "roleId")?.map(Secret::new);
    let secret_id = secret_id(reader)?;
    let role = text(reader, "role")?.map(str::to_owned);
    let jwt = text(reader, "jwtPath")?.unwrap_or(SERVICE_ACCOUNT_TOKEN);
    let Some(method) = method else {
        return Ok(None);
    };
    let missing = Error::Missing;
    let method = match method {
        AuthMethod::AppRole => Method::AppRole {
            role_id: role_id.ok_or(missing("\"authMethod\" approle needs \"roleId\""))?,
            secret_id,
        },
        AuthMethod::Kubernetes if role.is_none() => {
            return Err(missing("\"authMethod\" kubernetes needs \"role\""));
        }
        AuthMethod::Kubernetes | AuthMethod::Jwt => Method::Jwt {
            role,
            jwt: PathBuf::from(jwt),
        },
    };
    Ok(Some(Login { path, method }))
}

fn secret_id(reader: &mut Reader<'_>) -> Result<Option<Kept>, Error> {
    let here = text(reader, "secretId")?.map(|id| Kept::Here(Secret::new(id)));
    let file = text(reader, "secretIdPath")?.map(|path| Kept::File(PathBuf::from(path)));
    match (here, file) {
        (Some(_), Some(_)) => Err(Error::Missing(
            "\"secretId\" and \"secretIdPath\" are both set; set one of them",
        )),
        (here, file) => Ok(here.or(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;

    fn read(properties: &[(&str, &str)]) -> Result<Fields, String> {
        let component = component("secretstores.hashicorp.vault", properties);
        let mut reader = Reader::new(&component).unwrap();
        Fields::read(&mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_but_the_token_has_a_default() {
        let fields = read(&[("vaultToken", " t\n")]).unwrap();
        assert_eq!(
            Some(fields.address),
            Address::parse("https://127.0.0.1:8200")
        );
        assert_eq!(fields.namespace, None);
        assert_eq!(fields.trust.roots, Roots::System);
        assert_eq!(fields.place.secret(Version::Two, "x"), "secret/data/dapr/x");
        assert_eq!(fields.version, None);
        assert_eq!(fields.value_type, ValueType::Map);
        let Credentials::Token(token) = fields.credentials else {
            panic!("it is a token");
        };
        assert_eq!(token.expose(), "t");
    }

    #[test]
    fn paths_and_certificates_are_those_that_are_given() {
        for (properties, path) in [
            (&[("vaultKVPrefix", "")][..], "secret/dapr/x"),
            (&[("vaultKVPrefix", "/a b/c/")], "secret/a%20b/c/x"),
            (&[("vaultKVUsePrefix", "")], "secret/dapr/x"),
            (&[("vaultKVUsePrefix", "Yes")], "secret/dapr/x"),
            (&[("vaultKVUsePrefix", "false")], "secret/x"),
            (
                &[("vaultKVUsePrefix", "0"), ("vaultKVPrefix", "a")],
                "secret/x",
            ),
            (&[("enginePath", "/team/kv/")], "team/kv/dapr/x"),
        ] {
            let fields = read(&[properties, &[("vaultToken", "t")]].concat()).unwrap();
            assert_eq!(
                fields.place.secret(Version::One, "x"),
                path,
                "{properties:?}"
            );
        }
        let (pem, path, file) = (("caPem", "P"), ("caPath", "/p"), ("caCert", "/f"));
        for (properties, roots) in [
            (&[file, path, pem][..], Roots::Pem("P".to_owned())),
            (&[file, path], Roots::Path("/p".into())),
            (&[file], Roots::Path("/f".into())),
        ] {
            let fields = read(&[properties, &[("vaultToken", "t")]].concat()).unwrap();
            assert_eq!(fields.trust.roots, roots);
        }
    }

    #[test]
    fn names_what_is_wrong_and_what_is_accepted() {
        let token = ("vaultToken", "hunter2");
        let file = ("vaultTokenMountPath", "/t");
        let approle = ("authMethod", "approle");
        for (properties, expected) in [
            (&[][..], "token mount path and token not set"),
            (
                &[("vaultToken", ""), ("vaultTokenMountPath", "")],
                "token mount path and token not set",
            ),
            (&[token, file], "token mount path and token both set"),
            (
                &[token, approle, ("roleId", "r")],
                "\"authMethod\" and a token are both set; set one of them",
            ),
            (&[approle], "\"authMethod\" approle needs \"roleId\""),
            (
                &[
                    approle,
                    ("roleId", "r"),
                    ("secretId", "s"),
                    ("secretIdPath", "/s"),
                ],
                "\"secretId\" and \"secretIdPath\" are both set; set one of them",
            ),
            (
                &[("authMethod", "kubernetes")],
                "\"authMethod\" kubernetes needs \"role\"",
            ),
            (
                &[("authMethod", "ldap")],
                "the value of \"authMethod\" is not \"approle\", \"kubernetes\" or \"jwt\"",
            ),
            (
                &[token, ("vaultAddr", "vault:8200")],
                "the value of \"vaultAddr\" is not a URL such as \"https://vault.example:8200\"",
            ),
            (
                &[token, ("engineVersion", "v2")],
                "the value of \"engineVersion\" is not \"1\" or \"2\"",
            ),
            (
                &[token, ("vaultValueType", "json")],
                "the value of \"vaultValueType\" is not \"map\" or \"text\"",
            ),
            (
                &[token, ("vaultKVPrefix", "a/../b")],
                "the value of \"vaultKVPrefix\" is not a path without empty segments, \".\" and \
                 \"..\"",
            ),
            (
                &[token, ("enginePath", "a//b")],
                "the value of \"enginePath\" is not a path without empty segments, \".\" and \
                 \"..\"",
            ),
            (
                &[token, ("vaultNamespace", "a\nb")],
                "the value of \"vaultNamespace\" is not the path of a namespace",
            ),
        ] {
            assert_eq!(
                read(properties).err().as_deref(),
                Some(expected),
                "{properties:?}"
            );
        }
    }

    #[test]
    fn each_way_to_log_in_has_its_fields() {
        let role_id = ("roleId", "r");
        for (properties, path) in [
            (
                &[("authMethod", "approle"), role_id, ("secretId", "s")][..],
                "approle",
            ),
            (
                &[
                    ("authMethod", "approle"),
                    role_id,
                    ("authPath", "team/roles"),
                ],
                "team/roles",
            ),
            (&[("authMethod", "kubernetes"), ("role", "r")], "kubernetes"),
            (&[("authMethod", "jwt"), ("jwtPath", "/j")], "jwt"),
        ] {
            let Credentials::Login(login) = read(properties).unwrap().credentials else {
                panic!("it logs in");
            };
            assert_eq!(login.path, path);
        }
        let fields = read(&[("authMethod", "kubernetes"), ("role", "r")]).unwrap();
        let Credentials::Login(Login {
            method: Method::Jwt { role, jwt },
            ..
        }) = fields.credentials
        else {
            panic!("it logs in with a JSON web token");
        };
        assert_eq!(role.as_deref(), Some("r"));
        assert_eq!(jwt, PathBuf::from(SERVICE_ACCOUNT_TOKEN));
    }
}
