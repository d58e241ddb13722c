// The API's documentation, by Swagger UI. Nothing is asked of any other host: no badge, no fonts.

"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null,
  // colouring of long answers writes styles into the markup, which the page's policy forbids
  syntaxHighlight: false,
});
