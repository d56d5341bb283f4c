//! Messages to apps that speak HTTP.

use async_trait::async_trait;
use http::Request;

use super::{Message, Outcome, Subscriber};
use crate::app_channel::{AppChannel, Road};

/// An app that speaks HTTP.
pub struct HttpSubscriber {
    channel: AppChannel,
}

impl HttpSubscriber {
    /// The app behind this road.
    pub fn new(channel: AppChannel) -> Self {
        Self { channel }
    }
}

#[async_trait]
impl Subscriber for HttpSubscriber {
    async fn deliver(&self, message: &Message) -> Outcome {
        let path = format!("/{}", message.path.trim_start_matches('/'));
        let request = Request::post(path)
            .header("content-type", "application/cloudevents+json")
            .body(message.event.envelope().clone());
        let Ok(request) = request else {
            return Outcome::Retry("the path is not one of HTTP".to_owned());
        };
        match self.channel.call_http(Road::TopicEventHttp, request).await {
            Ok(answer) if answer.status().is_success() => Outcome::Success,
            Ok(answer) => Outcome::Retry(answer.status().to_string()),
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}
