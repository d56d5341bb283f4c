//! Settings that go to the sidecar nearly as they are.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::injector::annotations::table as key;
use crate::injector::annotations::{Annotation, Annotations, shown};
use crate::injector::config::Config;
use crate::injector::denial::Denial;

/// What the sidecar logs.
#[derive(Debug)]
pub(in crate::injector) struct Logging {
    pub(in crate::injector) level: &'static str,
    pub(in crate::injector) json: bool,
    /// None leaves it to the Configuration.
    pub(in crate::injector) api: Option<bool>,
}

/// How large requests may be. Texts are quantities of bytes.
#[derive(Debug)]
pub(in crate::injector) struct Limits {
    pub(in crate::injector) max_body_size: Option<String>,
    pub(in crate::injector) max_request_megabytes: Option<i32>,
    pub(in crate::injector) read_buffer_size: Option<String>,
    pub(in crate::injector) read_buffer_kilobytes: Option<i32>,
}

/// How long things may take. Texts are durations as Go writes them.
#[derive(Debug)]
pub(in crate::injector) struct Times {
    pub(in crate::injector) graceful_shutdown_seconds: i32,
    pub(in crate::injector) block_shutdown: Option<String>,
    pub(in crate::injector) binding_timeout: Option<String>,
    pub(in crate::injector) disseminate_timeout: Option<String>,
}

/// Services that the sidecar may use.
#[derive(Debug)]
pub(in crate::injector) struct Services {
    pub(in crate::injector) placement: Option<String>,
    /// The empty text says "none" to a sidecar that would look for one itself.
    pub(in crate::injector) scheduler: Option<String>,
    pub(in crate::injector) jwt_audiences: Option<String>,
}

/// When the kubelet probes.
#[derive(Debug)]
pub(in crate::injector) struct ProbeTimes {
    pub(in crate::injector) delay_seconds: i32,
    pub(in crate::injector) timeout_seconds: i32,
    pub(in crate::injector) period_seconds: i32,
    pub(in crate::injector) threshold: i32,
}

impl Logging {
    pub(super) fn check(annotations: &mut Annotations<'_>) -> Result<Self, Denial> {
        Ok(Self {
            level: annotations.choice(&key::LOG_LEVEL)?,
            json: annotations.flag(&key::LOG_AS_JSON),
            api: annotations.maybe_flag(&key::API_LOGGING),
        })
    }
}

impl Limits {
    pub(super) fn check(annotations: &mut Annotations<'_>) -> Result<Self, Denial> {
        Ok(Self {
            max_body_size: annotations.checked(&key::MAX_BODY_SIZE)?,
            max_request_megabytes: annotations.number(&key::HTTP_MAX_REQUEST_SIZE),
            read_buffer_size: annotations.checked(&key::READ_BUFFER_SIZE)?,
            read_buffer_kilobytes: annotations.number(&key::HTTP_READ_BUFFER_SIZE),
        })
    }
}

impl Times {
    pub(super) fn check(annotations: &mut Annotations<'_>) -> Result<Self, Denial> {
        Ok(Self {
            graceful_shutdown_seconds: annotations.amount(&key::GRACEFUL_SHUTDOWN),
            block_shutdown: annotations.checked(&key::BLOCK_SHUTDOWN)?,
            binding_timeout: annotations.checked(&key::BINDING_TIMEOUT)?,
            disseminate_timeout: annotations.checked(&key::DISSEMINATE_TIMEOUT)?,
        })
    }
}

impl Services {
    pub(super) fn read(annotations: &Annotations<'_>, config: &Config) -> Self {
        let address = |row, configured: &Option<String>| match annotations.written(row) {
            Some(text) => Some(unquoted(text).to_owned()),
            None => configured.clone(),
        };
        Self {
            placement: address(&key::PLACEMENT_ADDRESS, &config.placement_address)
                .filter(|address| !address.is_empty()),
            scheduler: address(&key::SCHEDULER_ADDRESS, &config.scheduler_address),
            jwt_audiences: annotations.optional(&key::JWT_AUDIENCES),
        }
    }
}

/// An address without quotes and then spaces around it, as Dapr 1.18 reads these two.
pub(super) fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\'']).trim()
}

impl ProbeTimes {
    pub(super) fn liveness(annotations: &mut Annotations<'_>) -> Self {
        Self {
            delay_seconds: annotations.amount(&key::LIVENESS_DELAY),
            timeout_seconds: annotations.amount(&key::LIVENESS_TIMEOUT),
            period_seconds: annotations.amount(&key::LIVENESS_PERIOD),
            threshold: annotations.amount(&key::LIVENESS_THRESHOLD),
        }
    }

    pub(super) fn readiness(annotations: &mut Annotations<'_>) -> Self {
        Self {
            delay_seconds: annotations.amount(&key::READINESS_DELAY),
            timeout_seconds: annotations.amount(&key::READINESS_TIMEOUT),
            period_seconds: annotations.amount(&key::READINESS_PERIOD),
            threshold: annotations.amount(&key::READINESS_THRESHOLD),
        }
    }
}

pub(super) fn disable_init_endpoints(
    annotations: &Annotations<'_>,
) -> Result<Option<String>, Denial> {
    let row = &key::DISABLE_INIT_ENDPOINTS;
    let words = annotations.list(row);
    match words
        .iter()
        .find(|word| !["config", "subscribe"].contains(&word.as_str()))
    {
        Some(word) => Err(Denial::cannot_run(format!(
            "annotation {:?}: {} is not known: accepted are \"config\" and \"subscribe\"",
            row.key,
            shown(word)
        ))),
        None => Ok((!words.is_empty()).then(|| words.join(","))),
    }
}

/// The resources of the sidecar. Dapr 1.18 drops all of them where one cannot be read.
pub(super) fn resources(annotations: &mut Annotations<'_>) -> Option<ResourceRequirements> {
    let amounts = |annotations: &Annotations<'_>, cpu: &Annotation, memory: &Annotation| {
        let mut amounts = BTreeMap::new();
        for (name, row) in [("cpu", cpu), ("memory", memory)] {
            if let Some(amount) = annotations.quantity(row)? {
                amounts.insert(name.to_owned(), Quantity(amount.to_owned()));
            }
        }
        Ok::<_, String>(amounts)
    };
    let requests = amounts(annotations, &key::CPU_REQUEST, &key::MEMORY_REQUEST);
    let limits = amounts(annotations, &key::CPU_LIMIT, &key::MEMORY_LIMIT);
    match (requests, limits) {
        (Ok(requests), Ok(limits)) if requests.is_empty() && limits.is_empty() => None,
        (Ok(requests), Ok(limits)) => Some(ResourceRequirements {
            requests: (!requests.is_empty()).then_some(requests),
            limits: (!limits.is_empty()).then_some(limits),
            ..ResourceRequirements::default()
        }),
        (Err(error), _) | (_, Err(error)) => {
            annotations.warn(format!("{error}; the sidecar gets no resources at all"));
            None
        }
    }
}
