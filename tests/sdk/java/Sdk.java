import com.aliyuncs.DefaultAcsClient;
import com.aliyuncs.RpcAcsRequest;
import com.aliyuncs.auth.AlibabaCloudCredentials;
import com.aliyuncs.auth.BasicCredentials;
import com.aliyuncs.auth.BasicSessionCredentials;
import com.aliyuncs.auth.SignatureVersion;
import com.aliyuncs.exceptions.ClientException;
import com.aliyuncs.exceptions.ServerException;
import com.aliyuncs.http.CallBack;
import com.aliyuncs.http.FormatType;
import com.aliyuncs.http.HttpClientConfig;
import com.aliyuncs.http.HttpRequest;
import com.aliyuncs.http.HttpResponse;
import com.aliyuncs.http.IHttpClient;
import com.aliyuncs.http.ProtocolType;
import com.aliyuncs.profile.DefaultProfile;
import com.aliyuncs.regions.ProductDomain;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;

/** A client of the SDK for one access key. */
final class Sdk {
    private static final String MODELS = "com.aliyuncs.live.model.v20161101.";
    private static final String PROPERTIES = "/META-INF/maven/com.aliyun/aliyun-java-sdk-live/pom.properties";

    /** The signature and the format of the responses. */
    enum Mode {
        V1_JSON("V1-JSON", null, FormatType.JSON),
        V1_XML("V1-XML", null, FormatType.XML),
        V3("V3", SignatureVersion.V3, FormatType.JSON);

        final String name;
        final SignatureVersion signature;
        final FormatType format;

        Mode(String name, SignatureVersion signature, FormatType format) {
            this.name = name;
            this.signature = signature;
            this.format = format;
        }

        static Mode named(String name) {
            return Arrays.stream(values()).filter(mode -> mode.name.equals(name)).findFirst().orElseThrow();
        }

        /**
         * Replaces characters that cannot arrive. XML 1.0 has no control characters, and the service sends U+FFFD. The
         * SDK's JSON reader does not know the escape sequence that JSON requires for them, and drops its backslash.
         */
        JsonElement readable(JsonElement value) {
            if (value instanceof JsonObject object) {
                JsonObject fields = new JsonObject();
                object.entrySet().forEach(field -> fields.add(field.getKey(), readable(field.getValue())));
                return fields;
            }
            if (value instanceof JsonArray array) {
                JsonArray list = new JsonArray();
                array.forEach(entry -> list.add(readable(entry)));
                return list;
            }
            boolean isText = value instanceof JsonPrimitive primitive && primitive.isString();
            return isText ? new JsonPrimitive(readable(value.getAsString())) : value;
        }

        private String readable(String text) {
            StringBuilder out = new StringBuilder();
            for (char c : text.toCharArray()) {
                if (c >= ' ' || "\t\n\r".indexOf(c) >= 0) {
                    out.append(c);
                } else {
                    out.append(format == FormatType.XML ? "\uFFFD" : String.format("u%04x", (int) c));
                }
            }
            return out.toString();
        }
    }

    /** The result of a call: the fields of the response, or an error of the API, or another exception. */
    record Result(JsonObject response, Main.ApiError error, Exception other) {}

    /** The SDK's HTTP client. Keeps the last response, because the SDK's exceptions have no status and no headers. */
    private static final class Recorder extends IHttpClient {
        private final IHttpClient inner;
        private HttpResponse last;

        Recorder(IHttpClient inner) {
            this.inner = inner;
        }

        @Override
        public HttpResponse syncInvoke(HttpRequest request) throws IOException, ClientException {
            last = null;
            last = inner.syncInvoke(request);
            return last;
        }

        @Override
        public Future<HttpResponse> asyncInvoke(HttpRequest request, CallBack callback) throws IOException {
            return inner.asyncInvoke(request, callback);
        }

        @Override
        protected void init(HttpClientConfig config) {}

        @Override
        @Deprecated
        public void ignoreSSLCertificate() {
            inner.ignoreSSLCertificate();
        }

        @Override
        @Deprecated
        public void restoreSSLCertificate() {
            inner.restoreSSLCertificate();
        }

        @Override
        public boolean isSingleton() {
            return inner.isSingleton();
        }

        @Override
        public void close() throws IOException {
            inner.close();
        }
    }

    private final Mode mode;
    private final ProductDomain domain;
    private final DefaultAcsClient client;
    private final Recorder recorder;

    Sdk(String url, Mode mode, Main.Key key) {
        AlibabaCloudCredentials credentials = key.token() == null
                ? new BasicCredentials(key.id(), key.secret())
                : new BasicSessionCredentials(key.id(), key.secret(), key.token());
        this.mode = mode;
        domain = new ProductDomain("live", url.replace("http://", ""));
        client = new DefaultAcsClient(DefaultProfile.getProfile("cn-shanghai"), credentials);
        recorder = new Recorder(client.getHttpClient());
        client.setHttpClient(recorder);
        if (mode.signature != null) {
            client.setSignatureVersion(mode.signature);
        }
    }

    Mode mode() {
        return mode;
    }

    static String version() throws IOException {
        Properties properties = new Properties();
        try (InputStream file = Sdk.class.getResourceAsStream(PROPERTIES)) {
            properties.load(file);
        }
        return properties.getProperty("version");
    }

    /** Makes a call. Throws only if the SDK cannot make it, or if the response has another format than requested. */
    Result call(String operation, JsonObject params, int timeoutMs) throws Exception {
        Class<?> model = Class.forName(MODELS + operation + "Request");
        RpcAcsRequest<?> request = (RpcAcsRequest<?>) model.getConstructor().newInstance();
        for (Map.Entry<String, JsonElement> param : params.entrySet()) {
            setParam(request, param.getKey(), param.getValue());
        }
        request.setSysProtocol(ProtocolType.HTTP);
        request.setSysProductDomain(domain);
        request.setSysAcceptFormat(mode.format);
        request.setSysConnectTimeout(5_000);
        request.setSysReadTimeout(timeoutMs);
        try {
            JsonObject response = fields(client.getAcsResponse(request));
            requireFormat();
            return new Result(response, null, null);
        } catch (ClientException raised) {
            String code = apiCode(raised);
            if (code == null) {
                return new Result(null, null, raised);
            }
            requireFormat();
            return new Result(null, apiError(code, raised), null);
        }
    }

    private void requireFormat() throws Main.Mismatch {
        if (recorder.last.getHttpContentType() != mode.format) {
            throw new Main.Mismatch("expected " + mode.format + ", got " + recorder.last.getHttpContentType());
        }
    }

    /** The API's error code of an exception, or null. The SDK's own codes begin with SDK. */
    private String apiCode(ClientException raised) {
        String code = raised.getErrCode();
        // With V1, the SDK compares the string to sign in the message with its own, and then blames the secret. A
        // difference shows a bug on one side, so the API's own code does not pass.
        boolean comparesStrings = mode.signature == null;
        if (comparesStrings && "SDK.InvalidAccessKeySecret".equals(code)) {
            return "SignatureDoesNotMatch";
        }
        if (comparesStrings && "SignatureDoesNotMatch".equals(code)) {
            return "SignatureDoesNotMatch with another string to sign";
        }
        return code == null || code.startsWith("SDK.") ? null : code;
    }

    private Main.ApiError apiError(String code, ClientException raised) {
        int status = recorder.last.getStatus();
        Class<?> expected = status < 500 ? ClientException.class : ServerException.class;
        String after = recorder.last.getHeaderValue("x-acs-retry-after");
        String described = raised.getClass() == expected ? code : code + " as " + raised.getClass().getName();
        return new Main.ApiError(described, status, after == null ? null : Integer.valueOf(after));
    }

    /** Calls the setter of a parameter with the value converted to the setter's type. */
    private static void setParam(RpcAcsRequest<?> request, String name, JsonElement value) throws Exception {
        for (Method method : request.getClass().getDeclaredMethods()) {
            if (method.getName().equals("set" + name)) {
                method.invoke(request, converted(value, method.getParameterTypes()[0]));
                return;
            }
        }
        throw new Main.Mismatch("the SDK's request has no " + name);
    }

    private static Object converted(JsonElement value, Class<?> type) throws Main.Mismatch {
        if (type == List.class) {
            List<String> list = new ArrayList<>();
            value.getAsJsonArray().forEach(entry -> list.add(entry.getAsString()));
            return list;
        }
        return switch (type.getSimpleName()) {
            case "String" -> value.getAsString();
            case "Integer" -> value.getAsInt();
            case "Long" -> value.getAsLong();
            case "Boolean" -> value.getAsBoolean();
            default -> throw new Main.Mismatch("a parameter has the type " + type);
        };
    }

    /** The fields of a typed response. Its getters have the names on the wire. */
    private static JsonObject fields(Object response) throws ReflectiveOperationException {
        JsonObject fields = new JsonObject();
        for (Method method : response.getClass().getDeclaredMethods()) {
            String name = method.getName();
            // getInstance, which is not a getter, has a parameter.
            if (name.startsWith("get") && method.getParameterCount() == 0) {
                fields.add(name.substring(3), json(method.invoke(response)));
            }
        }
        return fields;
    }

    private static JsonElement json(Object value) throws ReflectiveOperationException {
        if (value == null) {
            return JsonNull.INSTANCE;
        } else if (value instanceof String text) {
            return new JsonPrimitive(text);
        } else if (value instanceof Number number) {
            return new JsonPrimitive(number);
        } else if (value instanceof Boolean truth) {
            return new JsonPrimitive(truth);
        } else if (value instanceof List<?> list) {
            JsonArray array = new JsonArray();
            for (Object entry : list) {
                array.add(json(entry));
            }
            return array;
        } else if (value instanceof Map<?, ?> map) {
            JsonObject object = new JsonObject();
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                object.add(String.valueOf(entry.getKey()), json(entry.getValue()));
            }
            return object;
        }
        return fields(value);
    }
}
