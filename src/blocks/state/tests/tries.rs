//! What a policy tries again, and what is told after that.

use super::*;

const RETRIES: &str = "{retry: twice}";

const UNCERTAIN: &str = "failed saving state in state store s: a try had no answer, and may have \
                         been done: the value is another one now; read it before writing again";

#[tokio::test]
async fn only_what_may_heal_is_tried_again() {
    let setup = set_up(
        Fake::told(&[unavailable(), unavailable(), Told::Done]),
        RETRIES,
    );
    setup.save(&["k"]).await.unwrap();
    assert_eq!(setup.asked().len(), 3);
    for failure in [mismatch(), refused(), Told::Fails(StateError::ETagInvalid)] {
        let setup = set_up(Fake::told(&[failure]), RETRIES);
        setup.save(&["k"]).await.unwrap_err();
        assert_eq!(setup.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_mismatch_after_a_try_without_an_answer_is_no_mismatch() {
    let setup = set_up(Fake::told(&[unavailable(), mismatch()]), RETRIES);
    let error = setup.save(&["k"]).await.unwrap_err();
    assert_eq!(told(&error), (StateReason::Save, UNCERTAIN));

    // A try that the time limit ended may have been done too.
    let fake = Fake::told(&[Told::NeverEnds, mismatch()]);
    let setup = set_up(fake, "{retry: twice, timeout: short}");
    let error = setup.save(&["k"]).await.unwrap_err();
    assert_eq!(told(&error), (StateReason::Save, UNCERTAIN));

    let setup = set_up(Fake::told(&[unavailable(), mismatch()]), RETRIES);
    let removal = Removal {
        key: "k".to_owned(),
        etag: Some("7".to_owned()),
        ..Removal::default()
    };
    let change = Change::Removal(removal);
    let error = setup.store().transact(vec![change]).await.unwrap_err();
    assert_eq!(told(&error).0, StateReason::Transaction);
}

#[tokio::test]
async fn of_several_writes_those_that_failed_are_named_and_only_the_open_ones_tried_again() {
    let fake = Fake::told(&[Told::Done, unavailable(), mismatch(), refused(), Told::Done]);
    let setup = set_up(fake, RETRIES);
    let error = setup.save(&["a", "b", "c", "d"]).await.unwrap_err();
    let text = "failed saving state in state store s: 2 of 4 keys failed: key \"c\": possible etag \
                mismatch. error from state store: there is another value, or none, or one already; \
                key \"d\": the store refused it";
    assert_eq!(told(&error), (StateReason::Save, text));
    let expected = ["a", "b", "c", "d", "b"].map(|key| format!("ns.shop||{key}"));
    assert_eq!(setup.asked(), expected);
}

#[tokio::test]
async fn callers_cannot_open_the_circuit_breaker_with_bad_requests() {
    let breaker = "{circuitBreaker: once}";
    let setup = set_up(
        Fake::told(&[mismatch(), refused(), Told::Done, unavailable()]),
        breaker,
    );
    setup.save(&["k"]).await.unwrap_err();
    setup.save(&["k"]).await.unwrap_err();
    setup.save(&["k"]).await.unwrap();
    setup.save(&["k"]).await.unwrap_err();
    let error = setup.save(&["k"]).await.unwrap_err();
    let text = "failed saving state in state store s: circuit breaker is open";
    assert_eq!(told(&error), (StateReason::Save, text));
    assert_eq!(setup.asked().len(), 4);
}
