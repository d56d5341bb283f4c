//! What an administrator does to the server.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use sidegate::testing::eventually::eventually;
use sidegate::testing::http_client::send;

use crate::servers::{ROOT_TOKEN, Server};

/// Requests with all rights.
#[derive(Clone)]
pub(super) struct Admin {
    address: SocketAddr,
    token: String,
    namespace: String,
}

impl Admin {
    /// The administrator of a server in its development mode.
    pub(super) fn of(server: &Server) -> Self {
        Self::at(server.address, ROOT_TOKEN)
    }

    pub(super) fn at(address: SocketAddr, token: &str) -> Self {
        Self {
            address,
            token: token.to_owned(),
            namespace: String::new(),
        }
    }

    /// The same in a namespace.
    pub(super) fn within(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    pub(super) fn own_token(&self) -> &str {
        &self.token
    }

    /// Panics with the answer where it is no success.
    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        self.request("POST", path, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.request("GET", path, Value::Null).await
    }

    pub(super) async fn delete(&self, path: &str) {
        self.request("DELETE", path, Value::Null).await;
    }

    async fn request(&self, method: &str, path: &str, body: Value) -> Value {
        let body = Bytes::from(body.to_string());
        eventually("the engine is ready", async || {
            let request = Request::builder()
                .method(method)
                .uri(format!("/v1/{path}"))
                .header("x-vault-token", &self.token)
                .header("x-vault-namespace", &self.namespace)
                .body(Full::new(body.clone()))
                .unwrap();
            let answer = send(self.address, request).await;
            let body = String::from_utf8_lossy(answer.body());
            // A new engine of version 2 takes nothing for a moment.
            if body.contains("Upgrading from non-versioned") {
                return None;
            }
            assert!(answer.status().is_success(), "{method} {path}: {body}");
            Some(serde_json::from_str(&body).unwrap_or_default())
        })
        .await
    }

    /// A policy that allows these paths these capabilities.
    pub(super) async fn policy(&self, name: &str, rules: &[(&str, &str)]) {
        let rule = |(path, capability): &(&str, &str)| {
            format!("path \"{path}\" {{ capabilities = [\"{capability}\"] }}\n")
        };
        let policy: String = rules.iter().map(rule).collect();
        let path = format!("sys/policies/acl/{name}");
        self.post(&path, json!({"policy": policy})).await;
    }

    /// A token of its own.
    pub(super) async fn token(&self, fields: Value) -> String {
        let answer = self.post("auth/token/create", fields).await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// What the server knows of the tokens that a login handed out.
    pub(super) async fn login_tokens(&self) -> Vec<Value> {
        let accessors = self.get("auth/token/accessors?list=true").await;
        let mut tokens = Vec::new();
        for accessor in accessors["data"]["keys"].as_array().unwrap() {
            let path = "auth/token/lookup-accessor";
            let request = Request::post(format!("/v1/{path}"))
                .header("x-vault-token", &self.token)
                .body(Full::new(Bytes::from(
                    json!({"accessor": accessor}).to_string(),
                )))
                .unwrap();
            let answer = send(self.address, request).await;
            // One that has ended since is none.
            let token: Value = serde_json::from_slice(answer.body()).unwrap();
            let token = &token["data"];
            if token["path"]
                .as_str()
                .is_some_and(|path| path.ends_with("login"))
            {
                tokens.push(token.clone());
            }
        }
        tokens
    }
}
