import com.google.protobuf.StringValue;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.AbstractBlockingStub;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;

/** The stub of a service that the application has, as a compiler of proto files makes them. */
final class Echo extends AbstractBlockingStub<Echo> {
    private static final MethodDescriptor<StringValue, StringValue> SAY =
        MethodDescriptor.<StringValue, StringValue>newBuilder()
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName("sidegate.test.Echo/Say")
            .setRequestMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
            .setResponseMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
            .build();

    Echo(Channel channel) {
        this(channel, CallOptions.DEFAULT);
    }

    private Echo(Channel channel, CallOptions options) {
        super(channel, options);
    }

    @Override
    protected Echo build(Channel channel, CallOptions options) {
        return new Echo(channel, options);
    }

    String say(String word) {
        var asked = StringValue.of(word);
        return ClientCalls.blockingUnaryCall(getChannel(), SAY, getCallOptions(), asked).getValue();
    }

    static ServerServiceDefinition service() {
        return ServerServiceDefinition.builder("sidegate.test.Echo")
            .addMethod(SAY, ServerCalls.asyncUnaryCall((asked, response) -> {
                response.onNext(StringValue.of("you said " + asked.getValue()));
                response.onCompleted();
            }))
            .build();
    }
}
