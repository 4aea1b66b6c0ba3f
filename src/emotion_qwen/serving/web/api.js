// The page of the API at /docs: Swagger UI about this server's own description.

SwaggerUIBundle({ url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null });
