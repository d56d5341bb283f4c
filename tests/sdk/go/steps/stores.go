package steps

import (
	"context"
	"errors"
	"os"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sidegate-sdk-tests/report"
)

const (
	memory   = "memory"
	secrets  = "secrets"
	settings = "settings"
	locks    = "locks"
)

func background() context.Context { return context.Background() }

func (s script) save(key, value string) error {
	return s.sdk.SaveState(background(), memory, key, []byte(value), nil)
}

// An error where the key has another value than this one; the ETag that it has.
func (s script) has(key, value string) (etag string, err error) {
	item, err := s.sdk.GetState(background(), memory, key, nil)
	if err != nil {
		return "", err
	}
	return item.Etag, report.Equal("the value of "+key, string(item.Value), value)
}

func (s script) holds(key, value string) error {
	_, err := s.has(key, value)
	return err
}

func hasCode(what string, err error, expected codes.Code) error {
	return report.Equal(what, status.Code(err), expected)
}

func (s script) savesAndGets(store string) error {
	saved := s.sdk.SaveState(background(), store, "order", []byte(`{"a":"ä"}`), nil)
	item, err := s.sdk.GetState(background(), store, "order", nil)
	if err := errors.Join(saved, err); err != nil {
		return err
	}
	return report.All(
		report.Equal("the value", string(item.Value), `{"a":"ä"}`),
		report.Equal("whether there is an ETag", item.Etag != "", true))
}

func (s script) missesAKey() error {
	etag, err := s.has("none", "")
	return report.All(err, report.Equal("the ETag", etag, ""))
}

func (s script) getsMany() error {
	saved := report.All(s.save("one", "1"), s.save("two", "2"))
	items, err := s.sdk.GetBulkState(background(), memory, []string{"one", "none", "two"}, nil, 2)
	found := map[string]string{}
	for _, item := range items {
		found[item.Key] = string(item.Value) + item.Error
	}
	return report.All(saved, err,
		report.Equal("the values", found, map[string]string{"one": "1", "none": "", "two": "2"}))
}

func (s script) deletes() error {
	return report.All(
		s.save("deleted", "1"), s.sdk.DeleteState(background(), memory, "deleted", nil), s.holds("deleted", ""))
}

// Saves two values after each other. The ETag of the first one.
func (s script) saveTwice(key string) (old string, err error) {
	saved := s.save(key, "1")
	old, err = s.has(key, "1")
	return old, report.All(saved, err, s.sdk.SaveStateWithETag(background(), memory, key, []byte("2"), old, nil))
}

func (s script) savesWithAnOldETag() error {
	old, err := s.saveTwice("saved")
	again := s.sdk.SaveStateWithETag(background(), memory, "saved", []byte("3"), old, nil)
	return report.All(err, hasCode("the save", again, codes.Aborted), s.holds("saved", "2"))
}

func (s script) deletesWithAnOldETag() error {
	delete := func(etag string) error {
		return s.sdk.DeleteStateWithETag(background(), memory, "kept", &client.ETag{Value: etag}, nil, nil)
	}
	old, err := s.saveTwice("kept")
	refused := hasCode("the delete", delete(old), codes.Aborted)
	current, kept := s.has("kept", "2")
	return report.All(err, refused, kept, delete(current), s.holds("kept", ""))
}

func (s script) transacts() error {
	old, err := s.saveTwice("from")
	upsert := func(key, value string, etag *client.ETag) *client.StateOperation {
		item := &client.SetStateItem{Key: key, Value: []byte(value), Etag: etag}
		return &client.StateOperation{Type: client.StateOperationTypeUpsert, Item: item}
	}
	transact := func(operations ...*client.StateOperation) error {
		return s.sdk.ExecuteStateTransaction(background(), memory, nil, operations)
	}
	from := &client.SetStateItem{Key: "from"}
	done := transact(
		upsert("to", "1", nil), &client.StateOperation{Type: client.StateOperationTypeDelete, Item: from})
	moved := report.All(s.holds("to", "1"), s.holds("from", ""))
	refused := transact(upsert("to", "2", nil), upsert("from", "2", &client.ETag{Value: old}))
	return report.All(err, done, moved,
		report.Equal("whether one with an old ETag is refused", refused != nil, true), s.holds("to", "1"))
}

func (s script) expires() error {
	saveFor := func(key, seconds string) error {
		return s.sdk.SaveState(background(), memory, key, []byte("1"), map[string]string{"ttlInSeconds": seconds})
	}
	return report.All(
		saveFor("short", "1"), saveFor("long", "3600"),
		eventually(func() bool { return s.holds("short", "") == nil }), s.holds("long", "1"))
}

func (s script) getsASecret() error {
	secret, err := s.sdk.GetSecret(background(), secrets, "password", nil)
	return report.All(err, report.Equal("the secret", secret, map[string]string{"password": "hunter2"}))
}

func (s script) getsAllSecrets() error {
	all, err := s.sdk.GetBulkSecret(background(), secrets, nil)
	expected := map[string]map[string]string{"password": {"password": "hunter2"}}
	return report.All(err, report.Equal("the secrets", all, expected))
}

func (s script) isDeniedASecret() error {
	_, err := s.sdk.GetSecret(background(), secrets, "denied", nil)
	return hasCode("the secret", err, codes.PermissionDenied)
}

func (s script) missesASecret() error {
	_, err := s.sdk.GetSecret(background(), secrets, "none", nil)
	return hasCode("the secret", err, codes.NotFound)
}

func (s script) write(key, value string) error {
	return s.sdk.InvokeOutputBinding(background(), &client.InvokeBindingRequest{
		Name: "writer", Operation: "create", Data: []byte(value), Metadata: map[string]string{"key": key},
	})
}

func isItem(item *client.ConfigurationItem, value, version string) error {
	if item == nil {
		return errors.New("there is no such item")
	}
	return report.All(report.Equal("the value", item.Value, value), report.Equal("the version", item.Version, version))
}

func (s script) getsSettings() error {
	key := os.Getenv("APP_ID") + "-color"
	written := s.write(key, "red||1")
	item, err := s.sdk.GetConfigurationItem(background(), settings, key)
	return report.All(written, err, isItem(item, "red", "1"))
}

func (s script) isToldOfSettings() error {
	key := os.Getenv("APP_ID") + "-size"
	ctx, cancel := context.WithCancel(background())
	defer cancel()
	told := make(chan *client.ConfigurationItem, 10)
	subscribed := make(chan error, 1)
	// It never returns where the sidecar refuses it.
	go func() {
		_, err := s.sdk.SubscribeConfigurationItems(ctx, settings, []string{key},
			func(_ string, items map[string]*client.ConfigurationItem) { told <- items[key] })
		subscribed <- err
	}()
	if err := eventually(func() bool { return len(subscribed) > 0 }); err != nil {
		return err
	}
	if err := report.All(<-subscribed, s.write(key, "large||2")); err != nil {
		return err
	}
	if err := eventually(func() bool { return len(told) > 0 }); err != nil {
		return err
	}
	return isItem(<-told, "large", "2")
}

func (s script) locks() error {
	take := func(owner string) bool {
		answer, err := s.sdk.TryLockAlpha1(background(), locks,
			&client.LockRequest{ResourceID: "till", LockOwner: owner, ExpiryInSeconds: 60})
		return err == nil && answer.Success
	}
	release := func(owner string) string {
		answer, err := s.sdk.UnlockAlpha1(background(), locks, &client.UnlockRequest{ResourceID: "till", LockOwner: owner})
		if err != nil {
			return err.Error()
		}
		return answer.Status
	}
	return report.All(
		report.Equal("whether it is taken", take("first"), true),
		report.Equal("whether it is taken twice", take("second"), false),
		report.Equal("another's release", release("second"), "LOCK_BELONGS_TO_OTHERS"),
		report.Equal("the release", release("first"), "SUCCESS"),
		report.Equal("the second release", release("first"), "LOCK_DOES_NOT_EXIST"))
}

func (s script) getsMetadata() error {
	metadata, err := s.sdk.GetMetadata(background())
	if err != nil {
		return err
	}
	isThere := false
	for _, component := range metadata.RegisteredComponents {
		isThere = isThere || component.Name == memory
	}
	return report.All(
		report.Equal("the app id", metadata.ID, os.Getenv("APP_ID")),
		report.Equal("whether it names the component", isThere, true))
}

func (s script) setsMetadata() error {
	if err := s.sdk.SetMetadata(background(), "floor", "3"); err != nil {
		return err
	}
	metadata, err := s.sdk.GetMetadata(background())
	if err != nil {
		return err
	}
	return report.Equal("what was set", metadata.ExtendedMetadata["floor"], "3")
}
