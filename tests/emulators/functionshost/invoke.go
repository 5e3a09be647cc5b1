package functionshost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"
)

// payload is what the handler is sent for every trigger but HTTP.
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#request-payload
type payload struct {
	Data     map[string]any
	Metadata map[string]any
}

// result is what it answers.
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload
type result struct {
	Outputs     map[string]any
	Logs        []string
	ReturnValue any
}

// invoke posts a payload to /<FunctionName>. Any error means that the invocation failed, and that the
// message is to be delivered again. An invocation beyond functionTimeout ends the handler, and every
// other invocation with it.
// https://learn.microsoft.com/azure/azure-functions/functions-host-json#functiontimeout
func (h *Host) invoke(ctx context.Context, f function, data string, metadata map[string]any) error {
	h.mu.Lock()
	base, proc := h.handler, h.proc
	h.mu.Unlock()
	if h.timeout > 0 {
		defer time.AfterFunc(h.timeout, proc.Kill).Stop()
	}
	if base == "" {
		return errors.New("the handler is not running")
	}
	sent := payload{Data: map[string]any{f.trigger.Name: h.value(data)}, Metadata: map[string]any{}}
	for name, value := range metadata {
		sent.Metadata[name] = h.value(value)
	}
	sent.Metadata["sys"] = map[string]string{"MethodName": f.name}
	body, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/"+f.name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "Azure-Functions-Host/"+hostVersion)
	req.Header.Set("X-Azure-Functions-InvocationId", invocationID())
	req.Header.Set("X-Azure-Functions-HostVersion", hostVersion)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	// .NET's ReadAsAsync finds no reader for other types. For an empty body it gives null, upon which
	// the host waits for ever; that counts as a failure here.
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/json" && kind != "text/json" {
		return fmt.Errorf("the answer has content type %q", kind)
	}
	var answered result
	if err := json.NewDecoder(res.Body).Decode(&answered); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	for _, line := range answered.Logs {
		_, _ = fmt.Fprintf(&h.out, "%s: %s\n", f.name, line)
	}
	return nil
}

// value is how ScriptInvocationContextExtensions.GetHttpScriptInvocationContextValue gives a value:
// objects as they are, anything else as JSON in a string.
func (h *Host) value(v any) any {
	if _, object := v.(map[string]any); object || h.options.Plain {
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return v
	}
	return string(text)
}

// listen starts the trigger of a function.
func (h *Host) listen(f function) error {
	switch f.trigger.Type {
	case "queueTrigger":
		return h.listenStorage(f)
	case "serviceBusTrigger":
		return h.listenBus(f)
	}
	return nil
}
