//! What errors of the SDK mean.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::components::secret_store::StoreError;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no such secret, version or stage.
    Missing,
    /// The credentials lack a permission.
    Denied,
    /// Anything else.
    Other(StoreError),
}

/// What a code of AWS means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Missing,
    Denied,
    /// The credentials are not accepted.
    Credentials,
    /// Another try may succeed.
    Busy,
}

/// The codes that are told apart, of the services and of STS. AWS answers most of them with 400.
const CODES: [(&str, Meaning); 37] = [
    ("ParameterNotFound", Meaning::Missing),
    ("ParameterVersionNotFound", Meaning::Missing),
    ("ResourceNotFoundException", Meaning::Missing),
    ("AccessDenied", Meaning::Denied),
    ("AccessDeniedException", Meaning::Denied),
    ("UnauthorizedOperation", Meaning::Denied),
    ("ExpiredToken", Meaning::Credentials),
    ("ExpiredTokenException", Meaning::Credentials),
    ("IncompleteSignature", Meaning::Credentials),
    ("IncompleteSignatureException", Meaning::Credentials),
    ("InvalidAccessKeyId", Meaning::Credentials),
    ("InvalidClientTokenId", Meaning::Credentials),
    ("InvalidSignatureException", Meaning::Credentials),
    ("InvalidToken", Meaning::Credentials),
    ("MissingAuthenticationToken", Meaning::Credentials),
    ("MissingAuthenticationTokenException", Meaning::Credentials),
    ("NotAuthorized", Meaning::Credentials),
    ("OptInRequired", Meaning::Credentials),
    ("RequestExpired", Meaning::Credentials),
    ("RequestTimeTooSkewed", Meaning::Credentials),
    ("SignatureDoesNotMatch", Meaning::Credentials),
    ("UnrecognizedClientException", Meaning::Credentials),
    ("BandwidthLimitExceeded", Meaning::Busy),
    ("InternalFailure", Meaning::Busy),
    ("InternalServerError", Meaning::Busy),
    ("InternalServiceError", Meaning::Busy),
    ("LimitExceededException", Meaning::Busy),
    ("PriorRequestNotComplete", Meaning::Busy),
    ("ProvisionedThroughputExceededException", Meaning::Busy),
    ("RequestLimitExceeded", Meaning::Busy),
    ("RequestThrottledException", Meaning::Busy),
    ("RequestTimeoutException", Meaning::Busy),
    ("ServiceUnavailable", Meaning::Busy),
    ("SlowDown", Meaning::Busy),
    ("Throttling", Meaning::Busy),
    ("ThrottlingException", Meaning::Busy),
    ("TooManyRequestsException", Meaning::Busy),
];

fn meaning(code: &str) -> Option<Meaning> {
    let found = CODES.iter().find(|(known, _)| *known == code);
    found.map(|(_, meaning)| *meaning)
}

/// A code that may be shown: one that has the form of AWS's, and is no other piece of an answer.
fn shown(code: Option<&str>) -> &str {
    let has_form = |code: &&str| {
        let ends = ["Exception", "Error", "Failure", "InvalidKeyId"];
        meaning(code).is_some()
            || (code.len() <= 64
                && code.bytes().all(|byte| byte.is_ascii_alphabetic())
                && ends.iter().any(|end| code.ends_with(end)))
    };
    code.filter(has_form).unwrap_or("no code that is known")
}

impl Refusal {
    /// As the answer of a read that needs `action`, a permission of IAM.
    pub(super) fn into_answer<T>(self, action: &str) -> Result<Option<T>, StoreError> {
        match self {
            Self::Missing => Ok(None),
            Self::Denied => Err(denied(action)),
            Self::Other(error) => Err(error),
        }
    }

    /// As an error of a list that needs `action`.
    pub(super) fn of_list(self, action: &str) -> StoreError {
        match self {
            Self::Missing => StoreError::Failed("the list was answered as missing".to_owned()),
            Self::Denied => StoreError::ListForbidden(format!(
                "the credentials lack the permission {action:?}, without which there is no bulk \
                 read"
            )),
            Self::Other(error) => error,
        }
    }
}

/// The error of a read whose permission is missing.
pub(super) fn denied(action: &str) -> StoreError {
    StoreError::Failed(format!(
        "the credentials lack the permission {action:?} for it, or \"kms:Decrypt\" for the key \
         that it is encrypted with"
    ))
}

/// An answer without what it has to have.
pub(super) fn not_understood() -> Refusal {
    Refusal::Other(StoreError::Failed(
        "its answer was not understood".to_owned(),
    ))
}

impl<E> From<SdkError<E, HttpResponse>> for Refusal
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        if let SdkError::ServiceError(answer) = &error {
            let status = answer.raw().status().as_u16();
            return of_answer(answer.err().code(), answer.err().message(), status);
        }
        if let Some(error) = credentials(&error) {
            return Self::Other(error);
        }
        if let Some(error) = cause::<StoreError>(&error) {
            return Self::Other(error.clone());
        }
        match error {
            SdkError::ResponseError(_) => not_understood(),
            SdkError::TimeoutError(_) => Self::Other(unavailable("it did not answer in time")),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                Self::Other(unavailable("it did not answer in time"))
            }
            _ => Self::Other(StoreError::Failed("the request cannot be sent".to_owned())),
        }
    }
}

/// What a code of AWS with its message means.
pub(super) fn of_answer(code: Option<&str>, message: Option<&str>, status: u16) -> Refusal {
    // Secrets Manager has no code of its own for a secret that was deleted and can be restored.
    let is_deleted = |message: &str| {
        message.contains("marked for deletion") || message.contains("marked deleted")
    };
    if code == Some("InvalidRequestException") && message.is_some_and(is_deleted) {
        return Refusal::Missing;
    }
    let text = format!("it answered {status} with {}", shown(code));
    match code.and_then(meaning) {
        Some(Meaning::Missing) => Refusal::Missing,
        Some(Meaning::Denied) => Refusal::Denied,
        Some(Meaning::Credentials) => Refusal::Other(StoreError::Unauthenticated(format!(
            "the credentials are not accepted: {text}"
        ))),
        Some(Meaning::Busy) => Refusal::Other(unavailable(&text)),
        None => Refusal::Other(StoreError::Failed(text)),
    }
}

/// The error of credentials that could not be had.
fn credentials(error: &(dyn Error + 'static)) -> Option<StoreError> {
    let problem = cause::<CredentialsError>(error)?;
    if matches!(problem, CredentialsError::CredentialsNotLoaded(_)) {
        return Some(StoreError::Unauthenticated(
            "no AWS credentials were found: not in the component, the environment, the shared \
             configuration, a web identity, nor from a container or instance"
                .to_owned(),
        ));
    }
    if let Some(StoreError::Unavailable { text, retry_after }) = cause::<StoreError>(problem) {
        return Some(StoreError::Unavailable {
            text: format!("there are no credentials: {text}"),
            retry_after: *retry_after,
        });
    }
    let code = cause::<AssumeRoleError>(problem)
        .and_then(ProvideErrorMetadata::code)
        .or_else(|| {
            cause::<AssumeRoleWithWebIdentityError>(problem).and_then(ProvideErrorMetadata::code)
        });
    let text = match (code, cause::<std::io::Error>(problem)) {
        (Some(_), _) => format!("STS gave no AWS credentials: it answered {}", shown(code)),
        // Such as the file of a token that is not there.
        (None, Some(error)) => format!("there are no AWS credentials: {error}"),
        (None, None) => format!("there are no AWS credentials: {problem}"),
    };
    let is_busy = matches!(problem, CredentialsError::ProviderTimedOut(_))
        || code.and_then(meaning) == Some(Meaning::Busy);
    Some(if is_busy {
        unavailable(&text)
    } else {
        StoreError::Unauthenticated(text)
    })
}

fn unavailable(text: &str) -> StoreError {
    StoreError::Unavailable {
        text: text.to_owned(),
        retry_after: None,
    }
}

/// The outermost cause of a type.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one word, with the text.
    fn seen(refusal: Refusal) -> (&'static str, String) {
        match refusal {
            Refusal::Missing => ("missing", String::new()),
            Refusal::Denied => ("denied", String::new()),
            Refusal::Other(StoreError::Failed(text)) => ("failed", text),
            Refusal::Other(StoreError::Unavailable { text, .. }) => ("unavailable", text),
            Refusal::Other(StoreError::Unauthenticated(text)) => ("unauthenticated", text),
            Refusal::Other(StoreError::ListForbidden(text)) => ("list forbidden", text),
        }
    }

    #[test]
    fn tells_codes_apart() {
        let deleted = Some("You can't do this because it was marked for deletion.");
        for (code, message, expected) in [
            ("ResourceNotFoundException", None, "missing"),
            ("ParameterNotFound", None, "missing"),
            ("ParameterVersionNotFound", None, "missing"),
            ("InvalidRequestException", deleted, "missing"),
            ("InvalidRequestException", None, "failed"),
            ("InvalidRequestException", Some("no"), "failed"),
            ("ValidationException", deleted, "failed"),
            ("DecryptionFailure", None, "failed"),
            ("AccessDeniedException", None, "denied"),
            ("ThrottlingException", None, "unavailable"),
            ("TooManyRequestsException", None, "unavailable"),
            ("InternalServiceError", None, "unavailable"),
            ("UnrecognizedClientException", None, "unauthenticated"),
            ("InvalidSignatureException", None, "unauthenticated"),
            ("ExpiredTokenException", None, "unauthenticated"),
        ] {
            let (kind, _) = seen(of_answer(Some(code), message, 400));
            assert_eq!(kind, expected, "{code}");
        }
        assert_eq!(seen(of_answer(None, None, 403)).0, "failed");
    }

    #[test]
    fn shows_codes_only() {
        for (code, text) in [
            (
                Some("ValidationException"),
                "it answered 400 with ValidationException",
            ),
            (
                Some("hunter2Exception"),
                "it answered 400 with no code that is known",
            ),
            (Some("hunter"), "it answered 400 with no code that is known"),
            (None, "it answered 400 with no code that is known"),
        ] {
            assert_eq!(seen(of_answer(code, Some("hunter2"), 400)).1, text);
        }
    }
}
