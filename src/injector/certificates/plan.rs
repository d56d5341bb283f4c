//! What to do next with the certificates. Pure: the order of a rotation is here and nowhere else.
//!
//! A change of CA takes these steps, each a content of the Secret of its own:
//!
//! 1. The next CA is added. The bundle is that of both from here on.
//! 2. The bundle is in place, and has been for the propagation wait, within which every API server
//!    notices: the certificate is issued anew by the next CA, which becomes the CA. The CA before
//!    stays in the bundle, since a replica that is cut off from the API serves the certificate that
//!    it has until that ends.
//! 3. The last certificate of the CA before has ended: it leaves the bundle. It has by the time
//!    that the next CA is due, unless lifetimes were shortened since: then it leaves at that time,
//!    for otherwise the CA would end without another after it.

use std::time::SystemTime;

use super::content::Content;
use super::lifetimes::Lifetimes;

/// A step, which changes the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A CA and a certificate from nothing, since what is there can be used no more.
    Found,
    /// A new certificate of the same CA.
    RenewLeaf,
    /// The next CA.
    AddAuthority,
    /// A certificate of the next CA, which becomes the CA.
    Switch,
    /// The CA before is trusted no more.
    DropOld,
}

impl Step {
    /// A stable name, for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::RenewLeaf => "renew",
            Self::AddAuthority => "add_ca",
            Self::Switch => "switch_ca",
            Self::DropOld => "drop_ca",
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// This, now.
    Take(Step),
    /// Nothing before this time, unless the content or the place of the bundle changes.
    Wait(SystemTime),
}

/// What to do with `content`, whose bundle is in place since `trusted_since` (none: it is not).
pub fn plan(
    content: &Content,
    now: SystemTime,
    lifetimes: &Lifetimes,
    trusted_since: Option<SystemTime>,
) -> Plan {
    let ca = content.ca.certificate.life();
    let next = content.next.as_ref().map(|next| next.certificate.life());
    let next = next.filter(|next| !next.ended(now));
    let alive = content.leaf.as_ref().filter(|_| content.is_alive(now));
    let Some(leaf) = alive else {
        return Plan::Take(match next {
            _ if !ca.ended(now) => Step::RenewLeaf,
            // There is nothing to lose: the CA has ended too.
            Some(_) => Step::Switch,
            None => Step::Found,
        });
    };
    let mut wake = vec![leaf.certificate.life().end];
    let mut due = |at: SystemTime| {
        wake.push(at);
        now >= at
    };
    let old = content.old.as_ref();
    // Until the wait after its end, for a replica whose clock is behind.
    let dropped = |end: SystemTime| (end + lifetimes.wait()).min(ca.renewal());
    if old.is_some_and(|old| due(dropped(old.leaf.life().end))) {
        return Plan::Take(Step::DropOld);
    }
    // One CA before at a time: the bundle holds three at most.
    if next.is_some()
        && old.is_none()
        && trusted_since.is_some_and(|since| due(since + lifetimes.wait()))
    {
        return Plan::Take(Step::Switch);
    }
    let own = leaf.certificate.life();
    // A certificate that would end no later, as that of a CA that ends itself, is no use.
    let renewal = own.renewal().max(own.end - lifetimes.leaf());
    if ca.end > own.end && due(renewal) {
        return Plan::Take(Step::RenewLeaf);
    }
    if next.is_none() && old.is_none() && due(ca.renewal()) {
        return Plan::Take(Step::AddAuthority);
    }
    Plan::Wait(wake.into_iter().min().unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::super::authority::Terms;
    use super::super::certificate::Certificate;
    use super::*;

    const NAME: &str = "sidegate-injector.sidegate-system.svc";
    const DAY: u64 = 24 * 60 * 60;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * DAY)
    }

    fn terms() -> Terms {
        Terms {
            lifetimes: Lifetimes::parse(days(360), days(90), days(1)).unwrap(),
            names: vec![NAME.to_owned()],
        }
    }

    fn start() -> SystemTime {
        UNIX_EPOCH + days(20_000)
    }

    /// The steps of `days`, of which the bundle is in place from the first on.
    fn steps(last: u64) -> Vec<(u64, Step)> {
        let terms = terms();
        let mut content = terms.found(start()).unwrap();
        let mut since = start();
        let mut taken = Vec::new();
        for day in 0..=last {
            let now = start() + days(day);
            while let Plan::Take(step) = plan(&content, now, &terms.lifetimes, Some(since)) {
                let bundle = content.bundle();
                content = terms.take(step, &content, now).unwrap();
                since = if content.bundle() == bundle {
                    since
                } else {
                    now
                };
                taken.push((day, step));
            }
        }
        taken
    }

    #[test]
    fn rotates_in_this_order() {
        let wanted = [
            (60, Step::RenewLeaf),
            (120, Step::RenewLeaf),
            (180, Step::RenewLeaf),
            (240, Step::RenewLeaf),
            (240, Step::AddAuthority),
            (241, Step::Switch),
            // The certificate of day 240 ended on day 330.
            (301, Step::RenewLeaf),
            (331, Step::DropOld),
            (361, Step::RenewLeaf),
        ];
        assert_eq!(steps(361), wanted);
    }

    #[test]
    fn no_authority_ends_without_another_after_lifetimes_were_shortened() {
        let long = terms().found(start()).unwrap();
        let mut short = terms();
        short.lifetimes = Lifetimes::parse(days(9), days(3), days(1)).unwrap();
        let mut content = short.take(Step::AddAuthority, &long, start()).unwrap();
        let mut authorities = Vec::new();
        let ended = |content: &Content, now| content.ca.certificate.life().ended(now);
        for day in 0..=30 {
            let now = start() + days(day);
            assert!(!ended(&content, now), "on day {day}");
            while let Plan::Take(step) = plan(&content, now, &short.lifetimes, Some(start())) {
                content = short.take(step, &content, now).unwrap();
                if matches!(step, Step::Switch | Step::DropOld) {
                    authorities.push((day, step));
                }
            }
        }
        let first = [(1, Step::Switch), (6, Step::DropOld), (6, Step::Switch)];
        assert_eq!(authorities[..3], first);
    }

    #[test]
    fn switches_only_where_the_bundle_is_in_place() {
        let terms = terms();
        let content = terms.found(start()).unwrap();
        let due = start() + days(240);
        let content = terms.take(Step::AddAuthority, &content, due).unwrap();
        let content = terms.take(Step::RenewLeaf, &content, due).unwrap();
        let plan = |at, since| plan(&content, at, &terms.lifetimes, since);
        let hour = Duration::from_secs(3600);
        assert_eq!(plan(due, None), Plan::Wait(due + days(60)));
        assert_eq!(
            plan(due + hour, Some(due + hour)),
            Plan::Wait(due + hour + days(1))
        );
        assert_eq!(plan(due + days(1), None), Plan::Wait(due + days(60)));
        assert_eq!(plan(due + days(1), Some(due)), Plan::Take(Step::Switch));
    }

    #[test]
    fn starts_anew_where_everything_has_ended() {
        let terms = terms();
        let content = terms.found(start()).unwrap();
        let plan = |content, day| plan(content, start() + days(day), &terms.lifetimes, None);
        assert_eq!(plan(&content, 90), Plan::Take(Step::RenewLeaf));
        assert_eq!(plan(&content, 360), Plan::Take(Step::Found));
        let late = start() + days(359);
        let content = terms.take(Step::AddAuthority, &content, late).unwrap();
        assert_eq!(plan(&content, 360), Plan::Take(Step::Switch));
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let terms = terms();
        let content = terms.found(start()).unwrap();
        let late = start() + days(300);
        let content = terms.take(Step::RenewLeaf, &content, late).unwrap();
        let end = |pair: &super::super::certificate::Pair| pair.certificate.life().end;
        assert_eq!(end(content.leaf.as_ref().unwrap()), end(&content.ca));
        let content = terms.take(Step::AddAuthority, &content, late).unwrap();
        // Nothing to gain from the CA that ends, however late it is.
        let latest = start() + days(359);
        let planned = plan(&content, latest, &terms.lifetimes, None);
        assert_eq!(planned, Plan::Wait(end(&content.ca)));
    }

    /// What API servers may hold, and what replicas may serve.
    struct World {
        terms: Terms,
        content: Content,
        /// Every certificate that was in the Secret.
        served: Vec<Certificate>,
        /// Every bundle that was in place, and since when.
        bundles: Vec<(SystemTime, Vec<Certificate>)>,
    }

    impl World {
        fn new(terms: Terms) -> Self {
            let content = terms.found(start()).unwrap();
            let mut world = Self {
                terms,
                content,
                served: Vec::new(),
                bundles: Vec::new(),
            };
            world.serve();
            world.place(start());
            world
        }

        fn serve(&mut self) {
            let leaf = self.content.leaf.as_ref().unwrap();
            self.served.push(leaf.certificate.clone());
        }

        fn roots(&self) -> Vec<Certificate> {
            self.content.roots().into_iter().cloned().collect()
        }

        fn place(&mut self, now: SystemTime) {
            let roots = self.roots();
            if self.bundles.last().is_none_or(|(_, last)| *last != roots) {
                self.bundles.push((now, roots));
            }
        }

        fn turn(&mut self, now: SystemTime) -> usize {
            let mut switches = 0;
            loop {
                let (since, in_place) = self.bundles.last().unwrap();
                let since = (*in_place == self.roots()).then_some(*since);
                let planned = plan(&self.content, now, &self.terms.lifetimes, since);
                let Plan::Take(step) = planned else {
                    return switches;
                };
                self.content = self.terms.take(step, &self.content, now).unwrap();
                self.serve();
                switches += usize::from(step == Step::Switch);
            }
        }

        /// Every certificate that a replica may serve verifies with every bundle that an API
        /// server may hold.
        fn check(&self, now: SystemTime) {
            let wait = self.terms.lifetimes.wait();
            let ended = self.bundles.iter().map(|(since, _)| *since).skip(1);
            let ended = ended.chain([now + wait]);
            for ((_, roots), end) in self.bundles.iter().zip(ended) {
                if end + wait <= now {
                    continue;
                }
                let roots: Vec<&Certificate> = roots.iter().collect();
                for leaf in self.served.iter().filter(|leaf| !leaf.life().ended(now)) {
                    assert!(leaf.is_trusted(&roots, NAME, now), "{:?}", leaf.life());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        // The registration can be written again before a CA ends, with time for the wait: where
        // nobody can for so long, no order of steps helps.
        #[test]
        fn what_is_served_is_trusted_for_years(
            turns in proptest::collection::vec((1..=1000_u32, any::<bool>()), 250..300),
            leaf in 30..100_u64,
        ) {
            let mut terms = terms();
            terms.lifetimes = Lifetimes::parse(days(3 * leaf), days(leaf), days(leaf / 3)).unwrap();
            let mut world = World::new(terms);
            let (mut now, mut switches, mut could_write) = (start(), 0, true);
            for (pause, can_write) in turns {
                // A fifteenth of a certificate's life at most.
                now += days(leaf).mul_f64(f64::from(pause) / 15_000.0);
                switches += world.turn(now);
                world.check(now);
                could_write = can_write || !could_write;
                if could_write {
                    world.place(now);
                }
                world.check(now);
            }
            prop_assert!(switches > 1, "{switches}");
        }
    }
}
