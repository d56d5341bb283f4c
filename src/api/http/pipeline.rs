//! The pipeline of the user, between the token and the route.

use http::request::Parts;

use super::answer::{self, Answer};
use super::{HttpApi, metrics};
use crate::api::routes::{Match, Surface};
use crate::blocks::pipeline::Stopped;
use crate::process::listener::Remote;

impl HttpApi {
    /// Sends an admitted call through the middlewares. Where they gave it another path, that is
    /// normalised and matched as the one of a client is, and what it may reach is decided by the
    /// route that it has now; its token was checked before, for a route that is not exempt.
    ///
    /// Routes that need no token go through no middleware: whoever watches the health of a sidecar
    /// has none of its credentials, and an alias cannot make anything else of them.
    ///
    /// # Errors
    ///
    /// The answer, where a middleware ended the call.
    pub(super) async fn through_pipeline(
        &self,
        found: Match,
        head: &mut Parts,
    ) -> Result<Match, Answer> {
        let pipeline = &self.blocks.pipeline;
        if self.surface != Surface::Api || found.route().exempt || pipeline.is_empty() {
            return Ok(found);
        }
        let caller = Remote::of(&head.extensions);
        match pipeline.run(head, caller).await {
            Ok(()) => self.route(head).map_err(|_| answer::bad_path()),
            Err(Stopped::Rejected(rejection)) => Err(answer::rejected(rejection)),
            Err(Stopped::Unavailable(error)) => {
                if self.counts_error_codes {
                    metrics::count_failure(&error);
                }
                Err(answer::failure(&error))
            }
        }
    }
}
