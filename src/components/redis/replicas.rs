//! Waits until replicas have what a connection wrote.

use std::time::Duration;

use redis::RedisError;

use super::connection::Connection;

/// How long, as in Dapr 1.18.
pub(super) const WAIT: Duration = Duration::from_secs(1);

/// Whether every replica that is with the server has, in time, all that the connection wrote.
/// Other than in Dapr 1.18, replicas are counted now and not at the start of the sidecar.
pub(super) async fn wait(connection: &Connection) -> Result<bool, RedisError> {
    let mut connection = connection.clone();
    let commands = connection.commands();
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    let told: String = info.query_async(commands).await?;
    let count = online(&told);
    if count == 0 {
        return Ok(true);
    }
    let mut wait = redis::cmd("WAIT");
    wait.arg(count).arg(WAIT.as_secs() * 1000);
    let reached: usize = wait.query_async(commands).await?;
    Ok(reached >= count)
}

/// How many replicas follow, as `INFO replication` tells. One that loads its first copy does not.
fn online(told: &str) -> usize {
    let replicas = told.lines().filter(|line| {
        let number = line.strip_prefix("slave").unwrap_or_default();
        number.starts_with(|first: char| first.is_ascii_digit()) && line.contains("state=online")
    });
    replicas.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_replicas_that_follow() {
        let told = "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n\
             slave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=0\r\n\
             slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
             slave10:ip=10.0.0.4,port=6379,state=online,offset=42,lag=1\r\n\
             master_failover_state:no-failover\r\n";
        assert_eq!(online(told), 2);
        assert_eq!(
            online("# Replication\r\nrole:slave\r\nslave_repl_offset:1\r\n"),
            0
        );
    }
}
