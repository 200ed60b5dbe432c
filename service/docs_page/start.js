// Starts Swagger UI. A file of our own, since the page's Content-Security-Policy lets no script stand in the page.
"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: "none", // nothing is told to other sites
});
