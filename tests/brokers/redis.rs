//! Redis.

use crate::servers::Server;

#[tokio::test]
async fn brokers_come_back_with_what_they_had() {
    for mut server in [
        Server::redis(&[]).await,
        Server::rabbitmq().await,
        Server::nats().await,
    ] {
        server.kill();
        server.start_again().await;
    }
}
